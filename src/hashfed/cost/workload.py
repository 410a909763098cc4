"""What one client's data ask of its device in a round."""

from dataclasses import dataclass

import numpy as np

from hashfed.config import Config
from hashfed.data import OOV, PAD, Client, FederatedText
from hashfed.data.sentences import Sentences
from hashfed.engines.client_round import draw_sentences
from hashfed.engines.device_memory import PROBED_ROUND
from hashfed.federated.client import HASH_BATCH


@dataclass(frozen=True)
class Workload:
    """Sizes of the sentences that a client draws.

    Attributes:
        client: its name.
        sentences: s.
        length: T, positions of each.
        predictions: positions with a target.
        own: (o,) int64 ids of the rows that they need.
        step_positions: most predictions in a step of training, in whatever order the sentences come.
        step_sentences: sentences of that step.
        steps: of an epoch.
        hash_positions: most predictions in a pass of hashing.
        hash_sentences: most sentences in one.

    """

    client: str
    sentences: int
    length: int
    predictions: int
    own: np.ndarray
    step_positions: int
    step_sentences: int
    steps: int
    hash_positions: int
    hash_sentences: int

    @classmethod
    def of(cls, client: str, sentences: Sentences, batch_size: int) -> "Workload":
        """The sizes of ``sentences``, trained on ``batch_size`` at a time."""
        counts = np.count_nonzero(sentences.targets != PAD, axis=1)
        return cls(
            client=client,
            sentences=len(sentences),
            length=sentences.inputs.shape[1],
            predictions=sentences.predictions,
            own=sentences.own_rows(),
            step_positions=int(np.sort(counts)[-batch_size:].sum()),
            step_sentences=min(batch_size, len(sentences)),
            steps=-(-len(sentences) // batch_size),
            hash_positions=int(np.add.reduceat(counts, np.arange(0, len(counts), HASH_BATCH)).max()),
            hash_sentences=min(HASH_BATCH, len(sentences)),
        )


def draw_workload(config: Config, client: Client, size: int) -> Workload:
    """What ``client`` draws in round 1 of a model with ``size`` rows.

    Words beyond those rows are out of vocabulary. A larger vocabulary than that of the data names no word
    that the data do not have, so the rows that a client needs stay as they are.
    """
    sentences = client.sentences
    inputs, targets = (np.where(ids < size, ids, OOV) for ids in (sentences.inputs, sentences.targets))
    known = Client(client.name, Sentences(inputs, targets))
    drawn = draw_sentences(config, known, PROBED_ROUND, size)
    return Workload.of(client.name, drawn, config.client.batch_size)


def busiest_and_median(config: Config, data: FederatedText) -> dict[str, Client]:
    """Two training clients, by how many positions they predict in round 1: the most, and the median."""
    size = len(data.vocabulary)
    predictions = [draw_sentences(config, one, PROBED_ROUND, size).predictions for one in data.train]
    order = sorted(range(len(data.train)), key=lambda position: -predictions[position])
    return {"busiest": data.train[order[0]], "median": data.train[order[len(order) // 2]]}
