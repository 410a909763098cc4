"""The server's half of a network run knows no transport: here one without Flower, in one process."""

from pathlib import Path

import pytest
import torch

from exchanges import HASH, TRAIN
from hashfed.engines.local.simulator import Simulation
from hashfed.engines.network.exchanges import EVALUATE, JOIN
from hashfed.engines.network.post import Post
from hashfed.engines.network.rounds import NetworkRounds
from hashfed.retrieval import retrieval_settings
from memory_transport import MemoryTransport
from small import prepare


@pytest.mark.parametrize("method", ["simhash-collisions", "random"])
def test_rounds_over_another_transport_are_the_simulator_s(texts: Path, method: str) -> None:
    """With keys and without, bit for bit; evaluated on the nodes."""
    config, data = prepare(texts, evaluation="clients")
    retrieval = retrieval_settings(method)
    selection = config.selection.model_copy(update={"correction": "tail"})
    config = config.model_copy(update={"retrieval": retrieval, "selection": selection})
    with Simulation(config, data) as simulation:
        expected = [simulation.run_round() for _ in range(2)]
        metrics = simulation.evaluate(everything=True)
        parameters = simulation.state.parameters.clone()
    transport = MemoryTransport(config, data, 3)
    with NetworkRounds(Post(transport), config, data) as engine:
        found = [engine.run_round() for _ in range(2)]
        for name, value in parameters.named().items():
            assert torch.equal(engine.state.parameters.named()[name], value)
        assert engine.evaluate() == pytest.approx(metrics)
    for ours, theirs in zip(found, expected, strict=True):
        assert ours.loss == theirs.loss
        assert ours.failed == {}
        assert [report.client for report in ours.reports] == [report.client for report in theirs.reports]
        assert [report.bytes for report in ours.reports] == [report.bytes for report in theirs.reports]
    kinds = {kind for _, kind in transport.asked}
    assert {JOIN, TRAIN, EVALUATE} <= kinds
    assert (HASH in kinds) is (method == "simhash-collisions")


def test_a_node_that_goes_costs_its_clients_alone(texts: Path) -> None:
    config, data = prepare(texts)
    transport = MemoryTransport(config, data, len(data.train))
    with NetworkRounds(Post(transport), config, data) as engine:
        engine.run_round()
        declarations = engine._following
        assert declarations is not None
        gone = declarations.cohort[0]
        node = engine._members.node(gone)
        assert node is not None
        del transport.there[node]
        record = engine.run_round()
    assert record.failed == {gone: "its node is gone"}
    assert [report.client for report in record.reports] == declarations.cohort[1:]
