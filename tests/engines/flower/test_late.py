"""Answers that come late, in another order, from elsewhere or never."""

import time
from collections import Counter
from pathlib import Path
from typing import cast

import numpy as np
import pytest
import torch
from flwr.app import Message

from hashfed.config import Config
from hashfed.data import FederatedText
from hashfed.engines import Simulation
from hashfed.engines.flower import records
from hashfed.engines.flower.client_app import app
from hashfed.engines.flower.server import FlowerRounds
from hashfed.engines.server_round import ServerRound
from hashfed.federated.messages import ClientKeys, Declare, SelectedRows
from hashfed.models import Parameters
from loopback import LoopbackGrid, partitions
from small import small_config, small_data


def prepare(texts: Path, **flower: object) -> tuple[Config, FederatedText]:
    data = small_data(texts)
    settings = {"clients": len(data.train), "deadline": 20, "minimum_share": 0.1} | flower
    return small_config(texts, cohort=9, flower=settings), data


def assert_same(one: Parameters, other: Parameters) -> None:
    for name, value in one.named().items():
        assert torch.equal(value, other.named()[name]), name


def look_again(engine: FlowerRounds) -> None:
    """At which nodes are there, without the pause between two looks."""
    engine._members._looked = 0.0


@pytest.mark.parametrize("method", ["query-centroids", "frequency"])
def test_the_order_of_answers_changes_nothing(texts: Path, method: str) -> None:
    rng = np.random.default_rng(0)
    config, data = prepare(texts)
    config = config.model_copy(
        update={"rounds": 3, "retrieval": config.retrieval.model_copy(update={"method": method})}
    )
    with Simulation(config, data) as simulation:
        expected = [simulation.run_round() for _ in range(3)]
        parameters = simulation.state.parameters.clone()
    grid = LoopbackGrid(
        app, partitions(config.data.source), delay=lambda node, reply: float(rng.uniform(0, 0.4))
    )
    with FlowerRounds(grid, config, data) as engine:
        for record in expected:
            found = engine.run_round()
            assert (found.loss, found.failed) == (record.loss, {})
        assert_same(engine.state.parameters, parameters)


def test_the_servers_own_work_is_nobodys_delay(texts: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Selecting takes longer than the deadline, while the other nodes' answers lie there."""
    config, data = prepare(texts, deadline=0.5)
    select = ServerRound.select

    def slow(self: ServerRound, client: str, declared: Declare, keys: ClientKeys | None) -> SelectedRows:
        time.sleep(0.3)
        return select(self, client, declared, keys)

    monkeypatch.setattr(ServerRound, "select", slow)
    with FlowerRounds(LoopbackGrid(app, partitions(config.data.source)), config, data) as engine:
        record = engine.run_round()
    assert record.failed == {}
    assert len(record.reports) == 9


def test_what_has_come_by_the_deadline_is_read(texts: Path) -> None:
    """All answers of a round come shortly before the deadline."""
    config, data = prepare(texts, deadline=1.0)
    started: list[float] = []

    def delay(node: int, reply: Message) -> float:
        if reply.metadata.message_type == "train":
            started.append(time.monotonic())
            return 0.9 - (started[-1] - started[0])
        return 0.0

    with FlowerRounds(LoopbackGrid(app, partitions(config.data.source), delay=delay), config, data) as engine:
        assert engine.run_round().failed == {}


def test_a_client_that_moved_costs_no_deadline(texts: Path) -> None:
    """Its old node never answered; its new one is asked for the declaration that the old one owes."""
    config, data = prepare(texts, deadline=1.0)

    def interfere(node: int, reply: Message) -> Message | None:
        if node != 2 or reply.metadata.message_type != "train":
            return reply
        grid.contexts[4] = late
        del grid.contexts[2]
        look_again(engine)
        return None

    grid = LoopbackGrid(app, [*partitions(texts), partitions(texts)[1]], interfere)
    late = grid.contexts.pop(4)
    with FlowerRounds(grid, config, data) as engine:
        first = engine.run_round()
        assert first.failed
        assert set(first.failed.values()) == {"no answer to train within 1 s"}
        # A client that the server still waited for at the old node would have failed at the deadline.
        assert [engine.run_round().failed for _ in range(3)] == [{}, {}, {}]
        assert {engine._members.node(name) for name in first.failed} == {4}


def test_what_comes_during_an_evaluation_is_not_asked_again(texts: Path) -> None:
    config, data = prepare(texts, evaluation="clients")
    config = config.model_copy(update={"cohort": 1, "seed": 5})

    def delay(node: int, reply: Message) -> float:
        """The next round's declarations come after the end of the round, before that of the evaluation."""
        if reply.metadata.message_type == "evaluate":
            return 1.6
        if reply.metadata.message_type == "query.declare":
            parcel = records.unpack(reply.content)
            rounds = {cast(Declare, kinds["declare"]).round for kinds in parcel.messages.values()}
            return 0.8 if rounds == {2} else 0.0
        return 0.0

    grid = LoopbackGrid(app, partitions(config.data.source), delay=delay)
    with FlowerRounds(grid, config, data) as engine:
        engine.run_round()
        following = engine._following
        assert following is not None
        late = set(following.cohort) - set(following.there)
        assert late
        engine.evaluate()
        assert engine.run_round().failed == {}
    asked = Counter(
        name
        for _, message in grid.sent
        if message.content.config_records["request"].get("declare_round") == 2
        for name in cast(list[str], message.content.config_records["request"]["declare"])
    )
    assert asked == dict.fromkeys(following.cohort, 1)


def test_a_node_gets_two_messages_of_one_exchange(texts: Path) -> None:
    """One for the clients that had declared, one for those that were asked again: each keeps its welcome."""
    config, data = prepare(texts)
    (everybody,) = partitions(texts, 1)
    grid = LoopbackGrid(app, [everybody])
    with Simulation(config, data) as simulation:
        expected = [simulation.run_round() for _ in range(2)]
        parameters = simulation.state.parameters.clone()
    with FlowerRounds(grid, config, data) as engine:
        engine.run_round()
        following = engine._following
        assert following is not None
        assert len(following.there) == 9
        for name in following.cohort[:4]:
            del following.there[name]
        before = len(grid.sent)
        found = engine.run_round()
        kinds = Counter(message.metadata.message_type for _, message in grid.sent[before:])
        assert kinds["query.hash"] == 2
        assert (found.loss, found.failed) == (expected[1].loss, {})
        assert_same(engine.state.parameters, parameters)
    assert not [key for key in grid.contexts[1].state if key.startswith("welcome.")]


def test_a_round_that_is_tried_again_does_not_wait_for_the_dead(texts: Path) -> None:
    config, data = prepare(texts, deadline=1.0, minimum_share=1, patience=5)

    def interfere(node: int, reply: Message) -> Message | None:
        if node == 3 and reply.metadata.message_type == "train":
            del grid.contexts[node]
            return None
        return reply

    grid, said = LoopbackGrid(app, partitions(config.data.source), interfere), list[str]()
    with FlowerRounds(grid, config, data, said.append) as engine:
        record = engine.run_round()
        assert record.failed == {}
        assert len(record.reports) == 9
        assert {engine._members.node(report.client) for report in record.reports} == {1, 2}
    assert any("attempt 1 of 3" in line for line in said)
