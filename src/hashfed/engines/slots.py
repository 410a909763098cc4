"""Updates from worker processes to the server through shared memory: written once, read where they lie.

A pipe would copy an update of n × d floats four times (encode, write, read, decode). A *slot* is a piece of
shared memory that belongs to one worker and holds one update; the server sums the update up from it and
then lets the worker use it again.
"""

from dataclasses import dataclass

import numpy as np
import torch

from hashfed.federated.messages import Update


@dataclass(frozen=True)
class SlotMessage:
    """What goes through the pipe instead of the update.

    Attributes:
        slot: number of the worker's slot that holds the arrays.
        memory: the slot itself where it is new or has been replaced by a larger one; else None.
        numbers: fields of the update that are no arrays (``Update.numbers``).
        ids: as in the update.
        shapes: of its other arrays, by name, in the order in which they lie in the slot.

    """

    slot: int
    memory: torch.Tensor | None
    numbers: dict[str, str]
    ids: np.ndarray | None
    shapes: dict[str, tuple[int, ...]]


class SlotWriter:
    """The worker's side."""

    def __init__(self) -> None:
        self._slots: dict[int, torch.Tensor] = {}

    def write(self, slot: int, update: Update) -> SlotMessage:
        """Copy the arrays of ``update`` to the slot, which must be free."""
        arrays = {name: value for name, value in update.tensors().items() if name != "ids"}
        total = sum(value.numel() for value in arrays.values())
        memory = self._slots.get(slot)
        new = memory is None or len(memory) < total
        if memory is None or new:
            memory = self._slots[slot] = torch.empty(total).share_memory_()
        start = 0
        for value in arrays.values():
            memory[start : start + value.numel()].view(value.shape).copy_(value)
            start += value.numel()
        shapes = {name: tuple(value.shape) for name, value in arrays.items()}
        return SlotMessage(slot, memory if new else None, update.numbers(), update.ids, shapes)


class SlotReader:
    """The server's side, one for each worker."""

    def __init__(self) -> None:
        self._slots: dict[int, torch.Tensor] = {}

    def read(self, message: SlotMessage) -> Update:
        """The update; its arrays are those in the slot, not copies."""
        if message.memory is not None:
            self._slots[message.slot] = message.memory
        memory, start, tensors = self._slots[message.slot], 0, {}
        for name, shape in message.shapes.items():
            size = int(np.prod(shape))
            tensors[name] = memory[start : start + size].view(shape)
            start += size
        if message.ids is not None:
            tensors["ids"] = torch.from_numpy(message.ids)
        return Update.read(tensors, message.numbers)
