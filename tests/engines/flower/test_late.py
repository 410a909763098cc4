"""Answers that come late, in another order, from elsewhere or never."""

import json
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
import torch
from flwr.app import Message

from clock import Clock
from exchanges import DECLARE
from hashfed.config import Config
from hashfed.engines.flower import records
from hashfed.engines.flower.client_app import app
from hashfed.engines.flower.node import KEPT
from hashfed.engines.flower.rounds import FlowerRounds
from hashfed.engines.local.simulator import Simulation
from hashfed.engines.network.post import Reply
from hashfed.engines.network.round_play import RoundPlay
from hashfed.engines.network.transport import NOTHING
from hashfed.engines.round_end import RoundEnd
from hashfed.engines.server_round import ServerRound
from hashfed.errors import HashfedError
from hashfed.federated.messages import ClientKeys, Declare
from hashfed.models import Parameters
from hashfed.retrieval import retrieval_settings
from hashfed.runs.train import train
from hashfed.tasks.federated_data import FederatedData
from hashfed.tasks.next_word.vocabulary import Vocabulary
from loopback import LoopbackGrid, partitions
from small import prepare

pytestmark = pytest.mark.usefixtures("clock")


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
    config = config.model_copy(update={"rounds": 3, "retrieval": retrieval_settings(method)})
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


def test_the_servers_own_work_is_nobodys_delay(
    texts: Path, monkeypatch: pytest.MonkeyPatch, clock: Clock
) -> None:
    """Selecting takes longer than the deadline, while the other nodes' answers lie there."""
    config, data = prepare(texts, deadline=0.5)
    select = ServerRound.select

    def slow(self: ServerRound, client: str, declared: Declare, keys: ClientKeys | None) -> Any:
        clock.sleep(0.3)
        return select(self, client, declared, keys)

    monkeypatch.setattr(ServerRound, "select", slow)
    with FlowerRounds(LoopbackGrid(app, partitions(config.data.source)), config, data) as engine:
        record = engine.run_round()
    assert record.failed == {}
    assert len(record.reports) == 9


def test_what_has_come_by_the_deadline_is_read(texts: Path, clock: Clock) -> None:
    """All answers of a round come shortly before the deadline."""
    config, data = prepare(texts, deadline=1.0)
    started: list[float] = []

    def delay(node: int, reply: Message) -> float:
        if reply.metadata.message_type == "train":
            started.append(clock.monotonic())
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
    assert not [key for key in grid.contexts[1].state if key.startswith(KEPT)]


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


def test_a_declaration_ends_with_the_node_that_made_it(texts: Path) -> None:
    """A node declares for others' clients what they do not need, and leaves: its words leave with it."""
    config, data = prepare(texts)

    def interfere(node: int, reply: Message) -> Message:
        if node == 2 and reply.metadata.message_type in ("query.declare", "train"):
            parcel = records.unpack(reply.content)
            for kinds in parcel.messages.values():
                if "declare" in kinds:
                    declared = cast(Declare, kinds["declare"])
                    kinds["declare"] = replace(declared, own=np.array([0, 1], np.int32))
            for name, record in records.pack(parcel).items():
                reply.content[name] = record
        return reply

    nodes = partitions(texts)
    grid = LoopbackGrid(app, [*nodes, nodes[1]], interfere)
    honest = grid.contexts.pop(4)
    with FlowerRounds(grid, config, data) as engine:
        engine.run_round()
        following = engine._following
        assert following is not None
        theirs = {name for name in following.there if engine._members.node(name) == 2}
        assert theirs
        del grid.contexts[2]
        grid.contexts[4] = honest
        look_again(engine)
        engine._wait_for_clients(len(data.train))
        record = engine.run_round()
    assert record.failed == {}
    assert theirs <= {report.client for report in record.reports}


def test_only_the_node_that_was_asked_last_declares_for_a_client(texts: Path) -> None:
    """Node 2 answers when its client has been asked of another node, which hosts it now."""
    config, data = prepare(texts)
    nodes = partitions(texts)
    grid = LoopbackGrid(app, [*nodes, nodes[1]])
    honest = grid.contexts.pop(4)
    with FlowerRounds(grid, config, data) as engine:
        engine._wait_for_clients(len(data.train))
        declarations = engine._draw(1)
        mine = [name for name in declarations.cohort if engine._members.node(name) == 2]
        assert mine
        play = RoundPlay(
            config,
            engine._post,
            engine._members,
            ServerRound.of(config, engine.state.parameters, engine._index(1), 1, data.label_counts),
            RoundEnd(config, engine.state),
            declarations,
            None,
        )
        play._ask_ahead(2, declarations, mine)
        (old,) = engine._post.collect()
        del grid.contexts[2]
        grid.contexts[4] = honest
        look_again(engine)
        engine._wait_for_clients(len(data.train))
        play._ask_ahead(4, declarations, mine)
        play._answer(old)
        assert declarations.there == {}
        (new,) = engine._post.collect()
        play._answer(new)
        assert sorted(declarations.there) == mine
        assert declarations.answered == dict.fromkeys(mine, 4)


def test_a_node_that_forgot_everything_before_an_evaluation_joins_again(texts: Path) -> None:
    config, data = prepare(texts, evaluation="clients")
    grid = LoopbackGrid(app, partitions(config.data.source))
    said: list[str] = []
    with FlowerRounds(grid, config, data, said.append) as engine:
        engine.run_round()
        expected = engine.evaluate()
        grid.contexts[2].state.clear()
        assert engine.evaluate() != expected
        assert engine._members.hosts_of_held_out().keys() == {1, 3}
        look_again(engine)
        engine._wait_for_clients(len(data.train))
        assert engine.evaluate() == expected
    assert [line for line in said if line.startswith("evaluation")] == [
        "evaluation: node 2: this node was started anew and has not joined the run yet"
    ]


def test_a_run_outlives_an_evaluation_that_nobody_answers(texts: Path, tmp_path: Path) -> None:
    """In the middle it is said and left out; at the end the run says that its summary is missing."""
    config, _ = prepare(texts, evaluation="clients")
    evaluation = config.evaluation.model_copy(update={"every": 1})
    output = str(tmp_path / "run")
    config = config.model_copy(update={"rounds": 3, "evaluation": evaluation, "output": output})
    silent = {1, 2}

    def interrupt(node: int, message: Message) -> None:
        if message.metadata.message_type == "evaluate" and engines[-1].state.round in silent:
            raise RuntimeError("no memory")

    engines: list[FlowerRounds] = []
    said: list[str] = []

    def make_engine(
        config: Config, data: FederatedData[Vocabulary], stop: Callable[[], bool]
    ) -> FlowerRounds:
        grid = LoopbackGrid(app, partitions(texts), interrupt=interrupt)
        engines.append(FlowerRounds(grid, config, data, said.append))
        return engines[-1]

    summary = train(config, make_engine=make_engine)
    lines = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    assert ["evaluation" in line for line in lines] == [False, False, True]
    assert lines[2]["evaluation"] == summary["evaluation"]
    why = "flower.evaluation = clients: no node evaluated a held-out client (allowed: server)"
    assert [line for line in said if "after round" in line] == [
        f"evaluation after round {round}: {why}" for round in (1, 2)
    ]
    silent |= {3, 4}
    with pytest.raises(HashfedError, match="no node evaluated a held-out client"):
        train(config.model_copy(update={"rounds": 4}), make_engine=make_engine)
    silent.clear()
    summary = train(config.model_copy(update={"rounds": 4}), make_engine=make_engine)
    assert summary["rounds"] == 4


def test_a_node_that_was_gone_in_an_evaluation_is_not_thrown_out_again_after_it(texts: Path) -> None:
    """It says late that it was started anew; by the next round it has joined again."""
    config, data = prepare(texts, evaluation="clients")
    grid = LoopbackGrid(app, partitions(config.data.source))
    with FlowerRounds(grid, config, data) as engine:
        engine.run_round()
        late = Reply("m", 2, DECLARE, None, "started anew", True, 1.0, 0.0, 1, (), NOTHING)
        kept = replace(late, node=1, gone=False)
        engine._post.put_back([late, kept])
        engine.evaluate()
        assert set(engine._members.hosts_of_held_out()) == {1, 3}
        assert engine._post._waiting == [kept]
        look_again(engine)
        engine._wait_for_clients(len(data.train))
        record = engine.run_round()
        assert record.failed == {}
        assert {engine._members.node(report.client) for report in record.reports} == {1, 2, 3}


def test_nodes_join_and_leave_during_an_evaluation(texts: Path) -> None:
    config, data = prepare(texts, evaluation="clients")

    def interrupt(node: int, message: Message) -> None:
        if message.metadata.message_type == "evaluate":
            grid.contexts[4] = late
            grid.contexts.pop(3, None)
            look_again(engine)

    def delay(node: int, reply: Message) -> float:
        return 0.3 if reply.metadata.message_type == "evaluate" else 0.0

    grid = LoopbackGrid(app, [*partitions(texts), partitions(texts)[2]], interrupt=interrupt, delay=delay)
    late = grid.contexts.pop(4)
    with FlowerRounds(grid, config, data) as engine:
        engine.run_round()
        theirs = [name for name in engine._members.train if engine._members.node(name) == 3]
        engine.evaluate()
        assert {engine._members.node(name) for name in theirs} == {4}
        assert engine.run_round().failed == {}
