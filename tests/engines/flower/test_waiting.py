"""Updates that wait for their turn: few bytes in memory, the same numbers, nothing left on disk."""

import os
import weakref
from collections.abc import Iterable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from flwr.app import Message, RecordDict

from exchanges import TRAIN
from hashfed.engines import round_end
from hashfed.engines.flower.client_app import app
from hashfed.engines.flower.rounds import FlowerRounds
from hashfed.engines.local.simulator import Simulation
from hashfed.engines.network import round_play
from hashfed.engines.network.exchanges import JOIN
from hashfed.engines.network.waiting import WaitingUpdates
from hashfed.errors import HashfedError
from hashfed.federated.messages import Update
from hashfed.federated.sums import accept_update
from hashfed.retrieval.planes import Tail
from hashfed.tasks.federated_data import FederatedData
from hashfed.tasks.next_word.vocabulary import Vocabulary
from loopback import LoopbackGrid, partitions, post_through
from small import small_config, small_data, write_texts

COHORT = 30


def update(number: int, listed: bool = True) -> Update:
    rows = torch.full((4, 3), number / 7)
    ids = np.arange(4, dtype=np.int32) if listed else None
    return Update(1, number, 0.1 + number, {"a": torch.tensor([[-0.0, 1e-45], [number / 3, 1e4]])}, ids, rows)


def same(one: Update, other: Update) -> bool:
    left, right = one.tensors(), other.tensors()
    return (
        one.numbers() == other.numbers()
        and left.keys() == right.keys()
        and all(
            value.dtype == right[name].dtype and value.numpy().tobytes() == right[name].numpy().tobytes()
            for name, value in left.items()
        )
    )


@pytest.mark.parametrize("listed", [True, False])
@pytest.mark.parametrize("most", [0, 100, 200, 10_000])
def test_what_is_put_is_taken_bit_for_bit(tmp_path: Path, most: int, listed: bool) -> None:
    size = sum(value.nbytes for value in update(0, listed).tensors().values())
    waiting = WaitingUpdates(tmp_path / "run", most)
    for number in range(8):
        waiting.put(f"c{number}", update(number, listed))
        assert waiting.held <= max(most, size)
    for number in (5, 0, 7, 1):
        assert f"c{number}" in waiting
        assert same(waiting.take(f"c{number}"), update(number, listed))
        assert f"c{number}" not in waiting
    waiting.put("c5", update(50, listed))
    for number, value in ((2, 2), (3, 3), (4, 4), (6, 6), (5, 50)):
        assert same(waiting.take(f"c{number}"), update(value, listed))
    assert waiting.held == 0
    assert (tmp_path / "run").exists() is (most < 8 * size)
    assert not list(tmp_path.rglob("*.*")), "the file has no name"
    waiting.close()


def test_all_is_forgotten_at_the_end(tmp_path: Path) -> None:
    waiting = WaitingUpdates(tmp_path, 0)
    for number in range(3):
        waiting.put(f"c{number}", update(number))
    file = waiting._file
    waiting.close()
    assert file is not None
    assert file.closed
    assert waiting.held == 0
    assert "c0" not in waiting
    waiting.close()


def test_one_that_is_larger_than_the_limit_waits_in_memory(tmp_path: Path) -> None:
    waiting = WaitingUpdates(tmp_path, 1)
    waiting.put("ann", update(1))
    assert waiting.held > 1
    assert waiting._file is None


def larger_data(tmp_path: Path) -> tuple[Path, FederatedData[Vocabulary]]:
    texts = write_texts(tmp_path / "texts.jsonl", clients=60)
    return texts, small_data(texts)


class Alive:
    """Bytes of the updates that are in memory, noted whenever one has been accepted."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.most = self.largest = self.count = 0
        self._refs: list[weakref.ref[torch.Tensor]] = []

        def noted(settings: Any, received: Update, tail: Tail | None) -> tuple[Update, bool]:
            accepted, clipped = accept_update(settings, received, tail)
            arrays = list(accepted.tensors().values())
            self.largest = max(self.largest, sum(value.nbytes for value in arrays))
            changes = [accepted.rows, *accepted.body.values()]
            changes += [] if accepted.tail is None else [accepted.tail]
            self._refs += map(weakref.ref, changes)
            held = [value for value in (ref() for ref in self._refs) if value is not None]
            self.most, self.count = max(self.most, sum(value.nbytes for value in held)), self.count + 1
            return accepted, clipped

        monkeypatch.setattr(round_end, "accept_update", noted)


class SlowFirst(LoopbackGrid):
    """The answer of one node comes when the server has accepted so many others."""

    def __init__(self, texts: Path, alive: Alive, others: int) -> None:
        super().__init__(app, partitions(texts, 60))
        self.slow = 0
        self._alive, self._others = alive, others

    def pull_messages(self, message_ids: Iterable[str]) -> Iterable[Message]:
        (name,) = message_ids
        node, message = self.sent[int(name)]
        slow = node == self.slow and message.metadata.message_type == TRAIN
        return [] if slow and self._alive.count < self._others else super().pull_messages([name])


VARIANTS: list[dict[str, object]] = [
    {},
    {"compression": {"updates": "int8"}, "server": {"clip": 0.05}},
    {"retrieval": {"method": "full"}},
    {"retrieval": {"method": "frequency"}, "selection": {"delivery": "broadcast"}},
]


@pytest.mark.parametrize("groups", VARIANTS, ids=lambda groups: str(list(groups)))
def test_memory_behind_a_slow_first_client(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, groups: dict[str, object]
) -> None:
    texts, data = larger_data(tmp_path)
    run = tmp_path / "run"
    config = small_config(
        texts, cohort=COHORT, output=str(run), flower={"clients": len(data.train)}, rounds=1, **groups
    )
    with Simulation(config, data) as simulation:
        expected = [simulation.run_round()]
        parameters = simulation.state.parameters.clone()
    most = 20_000  # a few updates
    monkeypatch.setattr(round_play, "WaitingUpdates", partial(WaitingUpdates, most=most))
    alive = Alive(monkeypatch)
    grid = SlowFirst(texts, alive, COHORT - 1)
    with FlowerRounds(grid, config, data) as engine:
        engine._wait_for_clients(len(data.train))
        for record in expected:
            first = engine._draw(engine.state.round + 1).cohort[0]
            grid.slow, alive.count = engine._members.node(first) or 0, 0
            found = engine.run_round()
            assert (found.loss, found.failed, found.clipped) == (record.loss, {}, record.clipped)
            assert alive.count == COHORT
        for name, value in engine.state.parameters.named().items():
            assert torch.equal(value, parameters.named()[name])
    # Those that wait, and the one in hand; what one that was written held is free.
    assert COHORT * alive.largest > 4 * most, "the limit was tried"
    assert alive.most <= most + 2 * alive.largest
    assert not list(run.rglob("*")), "nothing is left of what was written"


@pytest.mark.parametrize("at", ["write", "open"])
def test_a_full_disk_is_no_clients_fault(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, at: str) -> None:
    texts, data = larger_data(tmp_path)
    output = str(tmp_path / "run")
    config = small_config(texts, cohort=COHORT, output=output, flower={"clients": len(data.train)})
    monkeypatch.setattr(round_play, "WaitingUpdates", partial(WaitingUpdates, most=0))

    class Full:
        def __init__(self, **_: object) -> None:
            if at == "open":
                raise OSError(28, os.strerror(28))

        def seek(self, *_: int) -> int:
            return 0

        def write(self, _: bytes) -> None:
            raise OSError(28, os.strerror(28))

        def close(self) -> None:
            pass

    monkeypatch.setattr("tempfile.TemporaryFile", Full)
    said: list[str] = []
    with FlowerRounds(LoopbackGrid(app, partitions(texts, 4)), config, data, said.append) as engine:
        with pytest.raises(HashfedError) as caught:
            engine.run_round()
        assert engine.state.round == 0
    assert str(caught.value) == (
        f"{output}: updates that wait for their turn cannot be written (No space left on device)"
    )
    assert not any("client" in line for line in said if "joined" not in line)


def test_a_client_that_never_answers_leaves_nothing_waiting(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The others' updates are summed at the deadline, as without it."""
    texts, data = larger_data(tmp_path)
    flower = {"clients": len(data.train), "deadline": 2, "minimum_share": 0.1}
    config = small_config(texts, cohort=COHORT, output=str(tmp_path / "run"), flower=flower)
    found = []
    for most in (0, 1 << 30):
        monkeypatch.setattr(round_play, "WaitingUpdates", partial(WaitingUpdates, most=most))
        alive = Alive(monkeypatch)
        grid = SlowFirst(texts, alive, COHORT)
        with FlowerRounds(grid, config, data) as engine:
            engine._wait_for_clients(len(data.train))
            first = engine._draw(1).cohort[0]
            grid.slow = engine._members.node(first) or 0
            record = engine.run_round()
            assert record.failed == {first: "no answer to train within 2 s"}
            found.append((record.loss, engine.state.parameters.clone()))
    assert found[0][0] == found[1][0]
    assert all(torch.equal(v, found[1][1].named()[k]) for k, v in found[0][1].named().items())


def test_replies_are_taken_one_by_one(texts: Path) -> None:
    """One that nobody has asked for is still with the SuperLink."""
    taken: list[str] = []

    class Counting(LoopbackGrid):
        def pull_messages(self, message_ids: Iterable[str]) -> Iterable[Message]:
            found = list(super().pull_messages(message_ids))
            taken.extend(message.metadata.message_id for message in found)
            return found

    post = post_through(Counting(app, partitions(texts, 10)))
    for node in range(1, 11):
        post.send(node, JOIN, 0, RecordDict(), 60.0)
    replies = post.replies()
    for count in range(1, 11):
        assert next(replies).node == count
        assert len(taken) == count
    assert list(replies) == []
