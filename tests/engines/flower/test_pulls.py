"""Replies that cannot be read, are never there as a whole, or answer in another node's name."""

import threading
import time
from collections.abc import Iterable
from pathlib import Path
from unittest.mock import Mock

import httpx
import pytest
import torch
from flwr.app import Message, RecordDict

from clock import Clock
from exchanges import TRAIN
from hashfed.engines.flower import pulls, records
from hashfed.engines.flower.client_app import app
from hashfed.engines.flower.rounds import FlowerRounds
from hashfed.engines.local.simulator import Simulation
from hashfed.engines.network.exchanges import JOIN
from hashfed.errors import HashfedError, one_line
from loopback import LoopbackGrid, partitions, post_through
from small import small_config, small_data


@pytest.mark.parametrize("hanging", [1, 4])
def test_replies_that_never_end_to_come_hold_up_nobody(texts: Path, hanging: int, clock: Clock) -> None:
    """However many they are; the other nodes take a while for each exchange."""
    data, closed = small_data(texts), threading.Event()

    class Hanging(LoopbackGrid):
        def pull_messages(self, message_ids: Iterable[str]) -> Iterable[Message]:
            found = list(super().pull_messages(message_ids))
            if any(r.metadata.src_node_id > 2 and r.metadata.message_type != JOIN for r in found):
                clock.hanging += 1
                closed.wait()
            return found

    flower = {"clients": len(data.train), "deadline": 4, "minimum_share": 0.05}
    config = small_config(texts, cohort=len(data.train), flower=flower)
    grid = Hanging(app, partitions(texts, 2 + hanging), delay=lambda node, reply: 0.3)
    with FlowerRounds(grid, config, data) as engine:
        engine._wait_for_clients(len(data.train))
        honest = [name for name in engine._members.train if (engine._members.node(name) or 9) <= 2]
        record = engine.run_round()
    closed.set()
    assert [report.client for report in record.reports] == honest
    assert set(record.failed.values()) == {"no answer to declare within 4 s"}


@pytest.mark.parametrize("error", [httpx.ReadTimeout("slow"), OSError("reset"), RuntimeError("no thread")])
def test_a_superlink_that_fails_for_a_moment_is_no_nodes_fault(texts: Path, error: Exception) -> None:
    data = small_data(texts)
    config = small_config(texts, cohort=9, flower={"clients": len(data.train), "deadline": 600})

    class Failing(LoopbackGrid):
        asked = 0

        def pull_messages(self, message_ids: Iterable[str]) -> Iterable[Message]:
            self.asked += 1
            if self.asked % 2:
                raise error
            return super().pull_messages(message_ids)

    with Simulation(config, data) as simulation:
        expected = simulation.run_round()
    with FlowerRounds(Failing(app, partitions(texts)), config, data) as engine:
        record = engine.run_round()
    assert (record.loss, record.failed) == (expected.loss, {})


def test_a_superlink_that_fails_for_long_is(
    texts: Path, monkeypatch: pytest.MonkeyPatch, clock: Clock
) -> None:
    grid = LoopbackGrid(app, partitions(texts))
    monkeypatch.setattr(grid, "pull_messages", Mock(side_effect=OSError("reset")))
    post = post_through(grid)
    post.send(1, JOIN, 0, RecordDict(), 60.0)
    assert post.collect() == []
    clock.sleep(pulls.TROUBLE_SECONDS)
    assert post.collect() == []
    clock.sleep(0.1)
    (reply,) = post.collect()
    assert (reply.node, reply.gone) == (1, False)
    assert reply.problem == "its reply cannot be read (OSError: reset)"


def test_a_superlink_that_answers_nothing_ends_the_run(texts: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is nobody's fault, and the run can be resumed."""
    monkeypatch.setattr(pulls, "TROUBLE_SECONDS", 0.05)
    data = small_data(texts)
    config = small_config(texts, cohort=9, flower={"clients": len(data.train), "deadline": 20})
    said: list[str] = []

    class Gone(LoopbackGrid):
        gone = False

        def pull_messages(self, message_ids: Iterable[str]) -> Iterable[Message]:
            if self.gone:
                raise httpx.ConnectError("refused")
            return super().pull_messages(message_ids)

        def get_node_ids(self) -> Iterable[int]:
            if self.gone:
                raise httpx.ConnectError("refused")
            return super().get_node_ids()

    grid = Gone(app, partitions(texts))
    with FlowerRounds(grid, config, data, said.append) as engine:
        engine.run_round()
        before = engine.state.parameters.clone()
        grid.gone = True
        engine._members._looked = time.monotonic() + 3600  # the next look at the nodes is far away
        text = (
            r"^the SuperLink does not answer, for 0\.05 s \(ConnectError: refused\); the same command goes on"
        )
        with pytest.raises(HashfedError, match=text):
            engine.run_round()
        assert engine.state.round == 1
        assert all(torch.equal(v, before.named()[k]) for k, v in engine.state.parameters.named().items())
    assert not any("client" in line for line in said)


def test_few_pulls_are_on_their_way_at_a_time(texts: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Replies that take longer than a look are not all fetched at once: they would all be in memory."""
    monkeypatch.setattr(pulls, "PATIENCE", 0.0)
    now, most, lock = [0], [0], threading.Lock()
    several = threading.Semaphore(0)

    class Slow(LoopbackGrid):
        def pull_messages(self, message_ids: Iterable[str]) -> Iterable[Message]:
            with lock:
                now[0] += 1
                most[0] = max(most[0], now[0])
            several.acquire()
            with lock:
                now[0] -= 1
            return super().pull_messages(message_ids)

    grid = Slow(app, partitions(texts, 30))
    post = post_through(grid)
    for node in range(1, 31):
        post.send(node, JOIN, 0, RecordDict(), 60.0)
    found: list[int] = []
    for _ in range(10_000):
        found += [reply.node for reply in post.collect()]
        if len(found) == 30:
            break
        several.release()
        time.sleep(0.005)
    assert sorted(found) == list(range(1, 31))
    assert most[0] == pulls.AT_ONCE


def test_replies_that_hang_do_not_take_the_places_of_others(
    texts: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pulls, "HANGING_SECONDS", 0.1)
    closed = threading.Event()

    class Hanging(LoopbackGrid):
        def pull_messages(self, message_ids: Iterable[str]) -> Iterable[Message]:
            found = list(super().pull_messages(message_ids))
            if any(reply.metadata.src_node_id <= 12 for reply in found):
                closed.wait()
            return found

    post = post_through(Hanging(app, partitions(texts, 15)))
    for node in range(1, 16):
        post.send(node, JOIN, 0, RecordDict(), 60.0)
    found: set[int] = set()
    for _ in range(10_000):
        found |= {reply.node for reply in post.collect()}
        if len(found) == 3:
            break
        post.rest()
    closed.set()
    assert found == {13, 14, 15}


def test_nothing_of_a_node_that_is_forgotten_comes(texts: Path) -> None:
    post = post_through(LoopbackGrid(app, partitions(texts)))
    for node in (1, 2):
        post.send(node, JOIN, 0, RecordDict(), 60.0)
    post.put_back(post.collect())
    post.send(1, JOIN, 0, RecordDict(), 60.0)
    post.forget(1)
    assert [reply.node for reply in post.collect()] == [2]


class SpoiledGrid(LoopbackGrid):
    """Node 2's updates raise, or never end to come, where they are read."""

    def __init__(self, source: str | Path, raises: Exception | None, clock: Clock) -> None:
        super().__init__(app, partitions(source))
        self.raises, self.clock, self.closed = raises, clock, threading.Event()

    def pull_messages(self, message_ids: Iterable[str]) -> Iterable[Message]:
        """As Flower's: whatever goes wrong with one reply, all that were asked for are lost."""
        found = list(super().pull_messages(message_ids))
        if any((reply.metadata.src_node_id, reply.metadata.message_type) == (2, TRAIN) for reply in found):
            if self.raises is not None:
                raise self.raises
            self.clock.hanging += 1
            self.closed.wait()
        return found


@pytest.mark.parametrize("raises", [ValueError("no message"), AttributeError("metadata"), None])
def test_a_reply_that_cannot_be_read_costs_only_its_node(
    texts: Path, raises: Exception | None, clock: Clock
) -> None:
    data = small_data(texts)
    flower = {"clients": len(data.train), "deadline": 3, "minimum_share": 0.1}
    config = small_config(texts, cohort=len(data.train), flower=flower)
    grid = SpoiledGrid(config.data.source, raises, clock)
    with FlowerRounds(grid, config, data) as engine:
        record = engine.run_round()
    grid.closed.set()
    why = "no answer to train within 3 s"
    if raises is not None:
        why = f"its reply cannot be read ({one_line(raises)})"
    assert record.failed == dict.fromkeys(trained_by(grid, 2), why)
    assert [report.client for report in record.reports] == sorted(trained_by(grid, 1) + trained_by(grid, 3))


def trained_by(grid: LoopbackGrid, node: int) -> list[str]:
    """Clients whose rows the node was sent."""
    sent = [message for to, message in grid.sent if to == node and message.metadata.message_type == TRAIN]
    return sorted(name for message in sent for name in records.unpack(message.content).messages)


@pytest.mark.usefixtures("clock")
def test_nobody_answers_in_the_name_of_another_node(texts: Path) -> None:
    """Node 2 says of its updates that they answer what node 1 or 3 was asked."""
    data = small_data(texts)
    flower = {"clients": len(data.train), "deadline": 2, "minimum_share": 0.1}
    config = small_config(texts, cohort=len(data.train), flower=flower)

    def forge(node: int, reply: Message) -> Message:
        if node == 2 and reply.metadata.message_type == TRAIN:
            others = [
                message.metadata.message_id
                for to, message in grid.sent
                if to != 2 and message.metadata.message_type == TRAIN
            ]
            reply.metadata.__dict__["_reply_to_message_id"] = (others or ["0"])[-1]
        return reply

    grid = LoopbackGrid(app, partitions(config.data.source), interfere=forge)
    with FlowerRounds(grid, config, data) as engine:
        record = engine.run_round()
    assert record.failed == dict.fromkeys(trained_by(grid, 2), "no answer to train within 2 s")
    assert [report.client for report in record.reports] == sorted(trained_by(grid, 1) + trained_by(grid, 3))
