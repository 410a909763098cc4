import numpy as np
import torch

from hashfed.engines.local.slots import SlotReader, SlotWriter
from hashfed.federated.messages import Update


def an_update(ids: list[int] | None, rows: int, value: float, tail: torch.Tensor | None = None) -> Update:
    body = {"a": torch.full((2, 2), value), "b": torch.full((3,), -value)}
    found = None if ids is None else np.array(ids, np.int32)
    return Update(3, 7, 0.1 + value, body, found, torch.full((rows, 4), 2 * value), tail=tail)


def assert_equal(one: Update, other: Update) -> None:
    assert one.numbers() == other.numbers()
    ones, others = one.tensors(), other.tensors()
    assert list(ones) == list(others)
    for name, value in ones.items():
        assert torch.equal(value, others[name])


def test_an_update_is_read_as_it_was_written() -> None:
    writer, reader = SlotWriter(), SlotReader()
    for update in (
        an_update([1, 5], 2, 1.0),
        an_update(None, 9, 2.0),
        an_update([], 0, 3.0),
        an_update([1], 1, 1.0, torch.arange(12.0).view(3, 4)),
        an_update([1], 1, 1.0, torch.empty(0, 4)),
    ):
        assert_equal(reader.read(writer.write(0, update)), update)


def test_a_slot_is_sent_once_and_again_when_it_grows() -> None:
    writer = SlotWriter()
    sent = [writer.write(0, an_update(None, rows, 1.0)).memory is not None for rows in (5, 3, 5, 6)]
    assert sent == [True, False, False, True]


def test_slots_do_not_share_memory() -> None:
    writer, reader = SlotWriter(), SlotReader()
    one, two = an_update([1], 1, 1.0), an_update([2], 1, 2.0)
    first, second = reader.read(writer.write(0, one)), reader.read(writer.write(1, two))
    assert_equal(first, one)
    assert_equal(second, two)
