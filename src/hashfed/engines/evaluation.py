"""The model on clients that were never trained on, with the softmax over all rows."""

from collections.abc import Sequence

import numpy as np
import torch

from hashfed.config import Config
from hashfed.data import OOV, PAD, SPECIAL, Client
from hashfed.data.sentences import Sentences
from hashfed.errors import HashfedError
from hashfed.federated.divergence import DivergedError, check_metrics, diverged
from hashfed.models import Model, Parameters, PredictionSums, evaluate_logits
from hashfed.randomness import stream

BATCH = 32
"""Sentences of one forward pass of the body."""
LOGITS = 1 << 22
"""Logits over all rows held at a time (16 MiB), but at least those of one position."""
CHUNK = 256
"""Sentences per unit of work; sums are added in order of the chunks."""


class NotEvaluatedError(HashfedError):
    """Nobody evaluated the model: its metrics of this round are missing, and nothing else is wrong."""


def held_out_sentences(clients: Sequence[Client], most: int | None, seed: int) -> Sentences:
    """All sentences of the clients, or a fixed random sample of ``most``, longest first.

    Sorting by length keeps a batch's sentences alike; it changes no sum's meaning.
    """
    inputs = np.concatenate([client.sentences.inputs for client in clients])
    targets = np.concatenate([client.sentences.targets for client in clients])
    if most is not None and most < len(inputs):
        index = np.sort(stream(seed, "evaluation").choice(len(inputs), most, replace=False))
        inputs, targets = inputs[index], targets[index]
    order = np.argsort(-(targets != PAD).sum(1), kind="stable")
    return Sentences(inputs[order], targets[order])


def evaluate_chunk(model: Model, parameters: Parameters, sentences: Sentences, chunk: int) -> PredictionSums:
    """Sums over the sentences of one chunk."""
    total = PredictionSums()
    end = min(len(sentences), (chunk + 1) * CHUNK)
    with torch.no_grad():
        for start in range(chunk * CHUNK, end, BATCH):
            part = sentences.take(np.arange(start, min(start + BATCH, end)))
            device = parameters.rows.device
            predicted = torch.from_numpy(part.targets != PAD).to(device)
            targets = torch.from_numpy(part.targets.astype(np.int64)).to(device)[predicted]
            inputs = torch.from_numpy(part.inputs.astype(np.int64)).to(device)
            queries = model.queries(parameters.body, parameters.rows, inputs, predicted)
            most = max(1, LOGITS // len(parameters.rows))
            for some, labels in zip(queries.split(most), targets.split(most), strict=True):
                total += evaluate_logits(some @ parameters.rows.T, labels, len(SPECIAL), OOV)
    return total


def finish_evaluation(sums: PredictionSums, round: int, config: Config) -> dict[str, float]:
    """The metrics (``PredictionSums.metrics``) of the model after ``round`` rounds.

    Raises:
        DivergedError: where one is not finite.

    """
    metrics = sums.metrics()
    try:
        check_metrics(metrics)
    except DivergedError as error:
        raise diverged(round, error, config.client, config.server) from None
    return metrics


def chunks(sentences: Sentences) -> int:
    """Number of chunks."""
    return -(-len(sentences) // CHUNK)
