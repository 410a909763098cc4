"""What one client's data ask of its device in a round."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from hashfed.config import Config
from hashfed.engines.budget import build_model
from hashfed.engines.client_round import draw_examples, drawn_predictions
from hashfed.engines.device_memory import PROBED_ROUND
from hashfed.federated.client import HASH_BATCH, own_rows
from hashfed.models import Model
from hashfed.models.protocol import input_tables
from hashfed.tasks.examples import Examples
from hashfed.tasks.federated_data import Client, FederatedData
from hashfed.tasks.registry import make_task


@dataclass(frozen=True)
class Workload:
    """Sizes of the examples that a client draws.

    Attributes:
        client: its name.
        examples: s.
        length: T, positions of each.
        predictions: positions with a target.
        own: (o,) int64 ids of the rows that they need.
        step_positions: most predictions in a step of training, in whatever order the examples come.
        step_examples: examples of that step.
        steps: of an epoch.
        hash_positions: most predictions in a pass of hashing.
        hash_examples: most examples in one.
        touched: rows that they need by input table.

    """

    client: str
    examples: int
    length: int
    predictions: int
    own: np.ndarray
    step_positions: int
    step_examples: int
    steps: int
    hash_positions: int
    hash_examples: int
    touched: Mapping[str, int] = field(default_factory=dict)

    @classmethod
    def of(cls, client: str, model: Model, examples: Examples, batch_size: int) -> "Workload":
        """What ``examples`` ask of ``model``, trained on ``batch_size`` at a time."""
        counts = examples.weights
        return cls(
            client=client,
            examples=len(examples),
            length=examples.shape[1],
            predictions=examples.weight,
            own=own_rows(model, examples),
            touched={name: len(own_rows(model, examples, name)) for name in input_tables(model)},
            step_positions=int(np.sort(counts)[-batch_size:].sum()),
            step_examples=min(batch_size, len(examples)),
            steps=-(-len(examples) // batch_size),
            hash_positions=int(np.add.reduceat(counts, np.arange(0, len(counts), HASH_BATCH)).max()),
            hash_examples=min(HASH_BATCH, len(examples)),
        )


def draw_workload(config: Config, client: Client, size: int) -> Workload:
    """What ``client`` draws in round 1 of a model with ``size`` rows.

    More rows than those of the data are named by nothing that the data have, so the rows that a client needs
    stay as they are.
    """
    known = Client(client.name, make_task(config.data).within(client.examples, size))
    model = build_model(config)
    drawn = draw_examples(config, model, known, PROBED_ROUND, size)
    return Workload.of(client.name, model, drawn, config.client.batch_size)


def busiest_and_median(config: Config, data: FederatedData[Any]) -> dict[str, Client]:
    """Two training clients, by how many positions they predict in round 1: the most, and the median."""
    size = data.size
    model = build_model(config)
    predictions = [drawn_predictions(config, model, one, PROBED_ROUND, size) for one in data.train]
    order = sorted(range(len(data.train)), key=lambda position: -predictions[position])
    return {"busiest": data.train[order[0]], "median": data.train[order[len(order) // 2]]}
