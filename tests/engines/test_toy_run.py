"""A task and a model that no file of hashfed knows, together through every engine."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from hashfed.config import Config, make_config
from hashfed.engines.local.simulator import Simulation
from hashfed.engines.single_thread import single_thread
from hashfed.models import INPUT, MODELS
from hashfed.runs import train
from hashfed.tasks.registry import TASKS, make_task
from laws import costs_what_is_sent, same_over_a_network
from toy_model import ToySettings as ToyModelSettings
from toy_task import ToySettings as ToyTaskSettings


@pytest.fixture(autouse=True)
def registered() -> Iterator[None]:
    TASKS["toy-labels"], MODELS["toy"] = ToyTaskSettings, ToyModelSettings
    with single_thread():
        yield
    del TASKS["toy-labels"], MODELS["toy"]


def toy(**groups: Any) -> Config:
    tree: dict[str, Any] = {
        "data": {"task": "toy-labels", "labels": 40},
        "model": {"name": "toy", "size": 6},
        "selection": {"budget": 0.5},
        "client": {"batch_size": 2},
        "evaluation": {"every": 2},
        "rounds": 4,
        "cohort": 3,
        "workers": 1,
        "flower": {"clients": 6, "evaluation": "clients", "minimum_share": 0.1},
    }
    return make_config(tree | groups)


@pytest.mark.parametrize("method", ["query-centroids", "full", "simhash-union"])
def test_over_a_network_it_is_the_simulator_s_run(method: str) -> None:
    config = toy(retrieval={"method": method})
    metrics, state = same_over_a_network(config, make_task(config.data).load("test"))
    assert set(metrics) == {"precision"}
    assert f"tables.{INPUT}" in state


def test_it_learns(tmp_path: Path) -> None:
    """Two labels of each set of features, one and the same every time: they are found."""
    config = toy(
        rounds=60,
        cohort=6,
        client={"batch_size": 2, "learning_rate": 0.5, "epochs": 2},
        server={"learning_rate": 0.05},
        output=str(tmp_path),
    )
    train(config, measure_memory=False)
    data = make_task(config.data).load("test")
    with Simulation(config, data) as simulation:
        first = simulation.run_round().loss
        for _ in range(40):
            last = simulation.run_round().loss
    assert last < first - 1


@pytest.mark.parametrize("delivery", ["on-demand", "broadcast"])
def test_what_it_costs_is_what_is_sent(delivery: str) -> None:
    config = toy(selection={"budget": 0.5, "delivery": delivery})
    costs_what_is_sent(config, make_task(config.data).load("test"))
