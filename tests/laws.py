"""What holds for every task and model: a network plays the simulator's rounds, and costs are what is sent."""

from typing import Any

import numpy as np
import pytest
import torch

from hashfed.config import Config
from hashfed.cost.run import Bill
from hashfed.engines.budget import build_model
from hashfed.engines.client_round import ClientRound
from hashfed.engines.exchange import play_round
from hashfed.engines.local.simulator import Simulation
from hashfed.engines.network.post import Post
from hashfed.engines.network.rounds import NetworkRounds
from hashfed.engines.server_round import ServerRound
from hashfed.randomness import stream
from hashfed.retrieval import build_index
from hashfed.tasks.federated_data import FederatedData
from memory_transport import MemoryTransport


def same_over_a_network(
    config: Config, data: FederatedData[Any]
) -> tuple[dict[str, float], dict[str, torch.Tensor]]:
    """Two rounds over a network are the simulator's, bit for bit; metrics and parameters after them."""
    with Simulation(config, data) as simulation:
        expected = [simulation.run_round() for _ in range(2)]
        metrics = simulation.evaluate(everything=True)
        state = {name: value.clone() for name, value in simulation.state.parameters.named().items()}
    with NetworkRounds(Post(MemoryTransport(config, data, 3)), config, data) as engine:
        found = [engine.run_round() for _ in range(2)]
        here = engine.state.parameters.named()
        assert all(torch.equal(here[name], value) for name, value in state.items())
        assert engine.evaluate() == pytest.approx(metrics)
    assert [one.loss for one in found] == [one.loss for one in expected]
    for one, other in zip(found, expected, strict=True):
        assert [report.bytes for report in one.reports] == [report.bytes for report in other.reports]
    assert all(one.failed == {} for one in found)
    return metrics, state


def costs_what_is_sent(config: Config, data: FederatedData[Any]) -> None:
    """The bill of the busiest client is that of a round that it plays."""
    model = build_model(config)
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
