"""The examples of a cohort as one: batches of many clients are made in as many steps as those of one."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch

from hashfed.models import Batch, Model
from hashfed.models.protocol import as_named
from hashfed.models.stacked_batch import HeldRows, StackedBatch
from hashfed.tasks.examples import Examples


class JoinedExamples:
    """Of C clients, as ids of all rows, on the CPU."""

    def __init__(self, model: Model, clients: Sequence[Examples]) -> None:
        """Join them.

        Args:
            model: ``stackable``.
            clients: what each has, of one class.

        """
        first: Any = clients[0]
        joined = first if len(clients) == 1 else first.join(clients[1:])
        self._model = model
        self._bound = joined.bind(as_named(model, dict.fromkeys(model.tables)), torch.device("cpu"))
        sizes = np.array([len(examples) for examples in clients])
        self._first = np.cumsum(sizes) - sizes

    def batch(self, parts: Sequence[tuple[int, np.ndarray]], noise: Sequence[torch.Generator] = ()) -> Batch:
        """Some examples of some clients, packed to be stacked.

        Args:
            parts: of each, which client, and which of its examples.
            noise: of each, what a model with dropout draws from.

        """
        index = np.concatenate([self._first[client] + examples for client, examples in parts])
        counts = torch.tensor([len(examples) for _, examples in parts])
        whole = self._bound.batch(torch.from_numpy(index))
        return self._model.pack(replace(whole, noise=tuple(noise), clients=counts), stacked=True)


def held_rows(
    model: Model, ids: Mapping[str, Sequence[np.ndarray | None]], sizes: Mapping[str, int]
) -> dict[str, HeldRows]:
    """What clients hold, by all names that a batch may have for a table; not of tables that all hold.

    Args:
        model: its functions.
        ids: of each client by table, (m,) int64 ascending; None for all.
        sizes: numbers of rows by table.

    """
    found = {}
    for table, of in ids.items():
        some = [one for one in of if one is not None]
        if len(some) == len(of):
            found[table] = HeldRows.of(some, sizes[table])
    return {**found, **{name: found[table] for name, table in model.tied.items() if table in found}}


def batched(orders: Sequence[np.ndarray], size: int) -> list[np.ndarray]:
    """Epochs of examples, in order, as batches of at most ``size``."""
    return [order[start : start + size] for order in orders for start in range(0, len(order), size)]


def stacked(batch: Batch, held: Mapping[str, HeldRows], device: torch.device) -> StackedBatch:
    """A batch of several clients, taken apart, with places in the rows that they hold, on a device."""
    return StackedBatch.split(batch).among(held).to(device)
