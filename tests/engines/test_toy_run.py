"""A task and a model that no file of hashfed knows, together through every engine."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from hashfed.config import Config, make_config
from hashfed.cost.run import Bill
from hashfed.engines.budget import build_model
from hashfed.engines.client_round import ClientRound
from hashfed.engines.exchange import play_round
from hashfed.engines.local.simulator import Simulation
from hashfed.engines.network.post import Post
from hashfed.engines.network.rounds import NetworkRounds
from hashfed.engines.server_round import ServerRound
from hashfed.engines.single_thread import single_thread
from hashfed.models import INPUT, MODELS
from hashfed.randomness import stream
from hashfed.retrieval import build_index
from hashfed.runs import train
from hashfed.tasks.registry import TASKS, make_task
from memory_transport import MemoryTransport
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
    data = make_task(config.data).load("test")
    with Simulation(config, data) as simulation:
        expected = [simulation.run_round() for _ in range(2)]
        metrics = simulation.evaluate(everything=True)
        state = {name: value.clone() for name, value in simulation.state.parameters.named().items()}
    assert set(metrics) == {"precision"}
    assert f"tables.{INPUT}" in state
    with NetworkRounds(Post(MemoryTransport(config, data, 3)), config, data) as engine:
        found = [engine.run_round() for _ in range(2)]
        assert all(torch.equal(engine.state.parameters.named()[name], value) for name, value in state.items())
        assert engine.evaluate() == pytest.approx(metrics)
    assert [one.loss for one in found] == [one.loss for one in expected]
    assert all(one.failed == {} for one in found)


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
    data, model = make_task(config.data).load("test"), build_model(config)
    made = Bill(config, data, measure=False)
    client = made.clients["busiest"]
    cost = made.cost(config, client)
    parameters = model.init(data.sizes, stream(config.seed, "init"))
    index = build_index(parameters.rows, config.retrieval, data.label_counts, config.seed)
    there = ServerRound.of(config, parameters, index, 1, data.label_counts)
    report = play_round(there, ClientRound(config, model, client, 1, data.sizes)).report
    assert cost.bytes == report.bytes
    assert (cost.parameters, cost.rows) == (report.parameters, report.rows)
    assert sum(cost.flops.values()) == report.flops
    np.testing.assert_array_equal(cost.workload.own, report.own)
