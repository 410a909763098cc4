"""Updates from worker processes to the server through shared memory: written once, read where they lie.

A socket would copy an update of n × d floats four times (encode, write, read, decode). A *slot* is a piece of
shared memory that belongs to one worker and holds one update; the server sums the update up from it and
then lets the worker use it again.
"""

from dataclasses import dataclass

import numpy as np
import torch

from hashfed.engines.shared import SharedBlock
from hashfed.federated.messages import Update

_FLOAT = 4
"""Bytes."""


@dataclass(frozen=True)
class SlotMessage:
    """What goes through the socket instead of the update.

    Attributes:
        slot: number of the worker's slot that holds the arrays.
        memory: the slot itself where it is new or has been replaced by a larger one; else None. The writer
            closes its handle once this is sent.
        numbers: fields of the update that are no arrays (``Update.numbers``).
        ids: arrays of the update that are of integers, by name.
        shapes: of its other arrays, by name, in the order in which they lie in the slot.

    """

    slot: int
    memory: SharedBlock | None
    numbers: dict[str, str]
    ids: dict[str, np.ndarray]
    shapes: dict[str, tuple[int, ...]]


class SlotWriter:
    """The worker's side."""

    def __init__(self) -> None:
        self._slots: dict[int, torch.Tensor] = {}

    def write(self, slot: int, update: Update) -> SlotMessage:
        """Copy the arrays of ``update`` to the slot, which must be free.

        Raises:
            HashfedError: where there is no memory for it.

        """
        tensors = update.tensors()
        ids = {name: value.numpy() for name, value in tensors.items() if not value.is_floating_point()}
        arrays = {name: value for name, value in tensors.items() if name not in ids}
        total = sum(value.numel() for value in arrays.values())
        memory, block = self._slots.get(slot), None
        if memory is None or len(memory) < total:
            self._slots.pop(slot, None)  # no longer held beside its successor
            block = SharedBlock.create(_FLOAT * total)
            memory = self._slots[slot] = _floats(block)
        start = 0
        for value in arrays.values():
            memory[start : start + value.numel()].view(value.shape).copy_(value)
            start += value.numel()
        shapes = {name: tuple(value.shape) for name, value in arrays.items()}
        return SlotMessage(slot, block, update.numbers(), ids, shapes)


class SlotReader:
    """The server's side, one for each worker."""

    def __init__(self) -> None:
        self._slots: dict[int, torch.Tensor] = {}

    def read(self, message: SlotMessage) -> Update:
        """The update; its arrays are those in the slot, not copies."""
        if message.memory is not None:
            self._slots[message.slot] = _floats(message.memory)
        memory, start, tensors = self._slots[message.slot], 0, {}
        for name, shape in message.shapes.items():
            size = int(np.prod(shape))
            tensors[name] = memory[start : start + size].view(shape)
            start += size
        tensors |= {name: torch.from_numpy(ids) for name, ids in message.ids.items()}
        return Update.read(tensors, message.numbers)


def _floats(block: SharedBlock) -> torch.Tensor:
    return block.tensor(0, (block.size // _FLOAT,), torch.float32)
