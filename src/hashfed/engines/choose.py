"""Which engine simulates a run."""

from collections.abc import Callable
from typing import Any

from hashfed.config import Config
from hashfed.engines.budget import build_model
from hashfed.engines.cohort.simulation import CohortSimulation
from hashfed.engines.cohort.supported import problem
from hashfed.engines.local.simulator import Simulation
from hashfed.errors import HashfedError
from hashfed.tasks.federated_data import FederatedData


def make_simulation(
    config: Config, data: FederatedData[Any], stop: Callable[[], bool] = lambda: False
) -> Simulation | CohortSimulation:
    """As ``config.engine`` says; arguments and errors are those of ``Simulation``.

    ``auto``: all clients as one batch on a GPU, where the settings allow it; one after another on a CPU,
    where several processes do so.

    Raises:
        HashfedError: also where a setting of a batch was asked for, and others do not allow one.

    """
    if config.engine == "cohort":
        return CohortSimulation(config, data, stop)
    if config.engine == "auto" and config.device == "cuda":
        if (found := problem(config, build_model(config))) is None:
            return CohortSimulation(config, data, stop)
        for name, usual in (("precision", "float32"), ("device_memory", None)):
            if (asked := getattr(config, name)) != usual:
                raise HashfedError(f"{name} = {asked}: is of engine cohort, which is not to be had ({found})")
    return Simulation(config, data, stop)
