"""Replies that cannot be read, are never there as a whole, or answer in another node's name."""

import threading
from collections.abc import Iterable
from pathlib import Path

import pytest
from flwr.app import Message

from hashfed.engines.flower import records
from hashfed.engines.flower.client_app import TRAIN, app
from hashfed.engines.flower.server import FlowerRounds
from hashfed.errors import one_line
from loopback import LoopbackGrid, partitions
from small import small_config, small_data


class SpoiledGrid(LoopbackGrid):
    """Node 2's updates raise, or never end to come, where they are read."""

    def __init__(self, source: str | Path, raises: Exception | None) -> None:
        super().__init__(app, partitions(source))
        self.raises, self.closed = raises, threading.Event()

    def pull_messages(self, message_ids: Iterable[str]) -> Iterable[Message]:
        """As Flower's: whatever goes wrong with one reply, all that were asked for are lost."""
        found = list(super().pull_messages(message_ids))
        if any((reply.metadata.src_node_id, reply.metadata.message_type) == (2, TRAIN) for reply in found):
            if self.raises is not None:
                raise self.raises
            self.closed.wait()
        return found


@pytest.mark.parametrize("raises", [ValueError("no message"), AttributeError("metadata"), None])
def test_a_reply_that_cannot_be_read_costs_only_its_node(texts: Path, raises: Exception | None) -> None:
    data = small_data(texts)
    flower = {"clients": len(data.train), "deadline": 3, "minimum_share": 0.1}
    config = small_config(texts, cohort=len(data.train), flower=flower)
    grid = SpoiledGrid(config.data.source, raises)
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
