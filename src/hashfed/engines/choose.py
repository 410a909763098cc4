"""Which engine simulates a run."""

from collections.abc import Callable
from typing import Any

from hashfed.config import Config
from hashfed.engines.budget import build_model
from hashfed.engines.cohort.simulation import CohortSimulation
from hashfed.engines.cohort.supported import problem
from hashfed.engines.local.simulator import Simulation
from hashfed.tasks.federated_data import FederatedData


def make_simulation(
    config: Config, data: FederatedData[Any], stop: Callable[[], bool] = lambda: False
) -> Simulation | CohortSimulation:
    """As ``config.engine`` says; arguments and errors are those of ``Simulation``.

    ``auto``: all clients as one batch on a GPU, where the settings allow it; one after another on a CPU,
    where several processes do so.
    """
    batched = config.engine == "cohort"
    if config.engine == "auto":
        batched = config.device == "cuda" and problem(config, build_model(config)) is None
    return CohortSimulation(config, data, stop) if batched else Simulation(config, data, stop)
