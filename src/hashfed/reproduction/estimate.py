"""How long a reproduction will take, and how much it will write."""

import math
import time
from collections.abc import Callable, Sequence
from typing import Any

from hashfed.config import Config
from hashfed.engines.budget import build_model
from hashfed.engines.choose import make_simulation
from hashfed.engines.client_round import draw_examples
from hashfed.reproduction.options import Options
from hashfed.reproduction.plan import Planned, Run
from hashfed.reproduction.results import FULL
from hashfed.tasks.federated_data import FederatedData

EVALUATION = 1 / 3
"""Work of a prediction that is only evaluated, of one that is trained on."""
START_SECONDS = 1.0
"""Of a run besides its rounds: reading, the first model, the last checkpoint."""
MEMORY_SECONDS = 8.0
"""Of measuring a client's memory in fresh processes."""
STATE_ARRAYS = 3
"""Parameters and two moments, in a checkpoint."""
SAMPLE_CLIENTS = 200
"""Clients whose sentences are counted."""


def seconds_by_run(
    options: Options, planned: Sequence[Planned], data: Callable[[int], FederatedData[Any]]
) -> dict[str, float]:
    """Of one process, by folder: measured on the full model, in proportion to parameters of larger ones.

    Methods that hold fewer rows are taken to need as long; they need less where the output layer is large.
    """
    found: dict[str, float] = {}
    # One client says it all where clients train one after another; on a GPU the whole cohort trains at once.
    measured = {} if options.device == "cuda" else {"cohort": 1}
    for vocabulary in options.vocabularies:
        base = options.config(vocabulary, FULL, 1.0, 2, **measured)
        here = data(vocabulary)
        each = _seconds_per_prediction(base, here)
        size = here.size
        predictions = _mean_predictions(options.config(vocabulary, FULL, 1.0, 2), here)
        held_out = sum(client.examples.weight for client in here.held_out)
        for item in planned:
            if item.vocabulary == vocabulary:
                config = item.job.config
                work = config.rounds * config.cohort * predictions + EVALUATION * held_out
                ratio = _parameters(config, size) / _parameters(base, size)
                seconds = START_SECONDS + each * work * ratio
                found[item.job.folder] = seconds + MEMORY_SECONDS * item.job.measure_memory
    return found


def bytes_to_write(planned: Sequence[Planned], sizes: dict[int, int]) -> int:
    """Of the models that these runs will keep; ``sizes`` are n by vocabulary."""
    return sum(
        4 * STATE_ARRAYS * _parameters(item.job.config, sizes[item.vocabulary])
        for item in planned
        if isinstance(item, Run)
    )


def _seconds_per_prediction(config: Config, data: FederatedData[Any]) -> float:
    """Of the second round, which finds all memory in place."""
    with make_simulation(config, data) as simulation:
        simulation.run_round()
        start = time.perf_counter()
        record = simulation.run_round()
        seconds = time.perf_counter() - start
    return seconds / max(1, sum(report.predictions for report in record.reports))


def _mean_predictions(config: Config, data: FederatedData[Any]) -> float:
    """Of a client and round."""
    clients = data.train[:: max(1, len(data.train) // SAMPLE_CLIENTS)]
    model = build_model(config)
    counts = [draw_examples(config, model, client, 1, data.size).weight for client in clients]
    return sum(counts) / len(counts)


def _parameters(config: Config, size: int) -> int:
    """Of the whole model."""
    body = sum(math.prod(shape) for shape in build_model(config).body_shapes().values())
    return body + size * config.model.dimension
