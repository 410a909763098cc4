"""Batches of several clients as one, each padded with zeros to the largest."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch

from hashfed.models.batch import Batch, Targets
from hashfed.models.protocol import OUTPUT


@dataclass(frozen=True)
class StackedTargets:
    """What the predictions of C clients are to find.

    Attributes:
        rows: (C, q) int64 positions in each client's rows; 0 where there is none.
        owners: (C, q) int64, the prediction that each is of.
        shares: (C, q) float32, one over the number of rows that its prediction has; 0 where there is none.
        present: (C, p) float32, 1 where there is a prediction, else 0.
        counts: (C,) float32, predictions of each client.

    """

    rows: torch.Tensor
    owners: torch.Tensor
    shares: torch.Tensor
    present: torch.Tensor
    counts: torch.Tensor

    @classmethod
    def split(cls, targets: Targets, predictions: torch.Tensor) -> "StackedTargets":
        """Of clients that have so many ``predictions`` (C,), one client after the other."""
        dtype, by_prediction = torch.get_default_dtype(), _Split.of(predictions)
        clients = by_prediction.clients[targets.owners]
        by_target = _Split.of(torch.bincount(clients, minlength=len(predictions)))
        owners = targets.owners - by_prediction.first[clients]
        each = torch.ones(len(targets.rows), dtype=dtype)
        if targets.counts is not None:
            each /= targets.counts[targets.owners]
        present = torch.arange(by_prediction.most)[None] < predictions[:, None]
        rows, owners, shares = (by_target.pad(value) for value in (targets.rows, owners, each))
        return cls(rows, owners, shares, present.to(dtype), predictions.to(dtype))

    def part(self, clients: slice) -> "StackedTargets":
        """Those of some clients."""
        return StackedTargets(*(value[clients] for value in vars(self).values()))


@dataclass(frozen=True)
class HeldRows:
    """Which rows of a table C clients hold.

    Attributes:
        keys: of all, client after client, number of the client · ``size`` + id, ascending.
        first: (C,) int64, where each client's begin.
        size: n.

    """

    keys: torch.Tensor
    first: torch.Tensor
    size: int

    @classmethod
    def of(cls, ids: Sequence[np.ndarray], size: int) -> "HeldRows":
        """Ids (m,) int64 ascending of each client."""
        sizes = torch.tensor([len(of) for of in ids])
        split = _Split.of(sizes)
        return cls(split.clients * size + torch.from_numpy(np.concatenate(ids)), split.first, size)

    def places(self, ids: torch.Tensor, present: torch.Tensor) -> torch.Tensor:
        """Of ids (c, k) of the first c clients, where ``present``, the places in their rows; else 0."""
        clients = torch.arange(len(ids))[:, None]
        found = torch.searchsorted(self.keys, clients * self.size + ids) - self.first[: len(ids), None]
        return torch.where(present, found, 0)


@dataclass(frozen=True)
class StackedBatch:
    """A batch of each of C clients.

    Attributes:
        columns: (C, …) by name, what a model reads.
        tables: which of them are positions in rows, by name the table that has these.
        targets: of their predictions.
        present: by column of ``tables``, (C, …) bool, where there is something.

    """

    columns: Mapping[str, torch.Tensor]
    tables: Mapping[str, str]
    targets: StackedTargets
    present: Mapping[str, torch.Tensor]

    @classmethod
    def split(cls, batch: Batch) -> "StackedBatch":
        """Of a batch of several clients (``Batch.clients``), packed to be stacked, on the CPU."""
        layout, counts = batch.layout, batch.clients
        if layout is None or counts is None:
            raise ValueError("a batch that was not packed to be stacked")
        by_example = _Split.of(counts)
        owners = batch.columns[layout.owners]
        by_item = _Split.of(torch.bincount(by_example.clients[owners], minlength=len(counts)))
        columns = {}
        for name, value in batch.columns.items():
            split = by_item if name in layout.of_items else by_example
            if name == layout.owners:
                value = value - by_example.first[split.clients]
            elif name in layout.item_places:
                first = by_item.first[split.clients].view(-1, *[1] * (value.dim() - 1))
                value = torch.where(value > 0, value - first, 0)
            columns[name] = split.pad(value)
        predictions = by_item.counts if layout.item_predictions else by_example.counts
        present = {
            name: (by_item if name in layout.of_items else by_example).present for name in batch.tables
        }
        return cls(columns, batch.tables, StackedTargets.split(batch.targets, predictions), present)

    def among(self, held: Mapping[str, HeldRows]) -> "StackedBatch":
        """With places in held rows instead of ids; ``held`` by the names that the batch has for tables."""
        columns, targets = dict(self.columns), self.targets
        for name, table in self.tables.items():
            if table in held:
                columns[name] = held[table].places(columns[name], self.present[name])
        if OUTPUT in held:
            there = targets.shares > 0
            targets = replace(targets, rows=held[OUTPUT].places(targets.rows, there))
        return replace(self, columns=columns, targets=targets)

    def to(self, device: torch.device) -> "StackedBatch":
        """On a device."""
        if device.type == "cpu":
            return self
        columns = {name: value.to(device, non_blocking=True) for name, value in self.columns.items()}
        targets = (value.to(device, non_blocking=True) for value in vars(self.targets).values())
        return replace(self, columns=columns, targets=StackedTargets(*targets))


@dataclass(frozen=True)
class _Split:
    """Things of C clients, one client's after the other's.

    Attributes:
        counts: (C,) int64 of each.
        first: (C,) int64, where each one's begin.
        clients: (k,) int64, whose each is.

    """

    counts: torch.Tensor
    first: torch.Tensor
    clients: torch.Tensor

    @classmethod
    def of(cls, counts: torch.Tensor) -> "_Split":
        return cls(counts, counts.cumsum(0) - counts, torch.repeat_interleave(counts))

    @property
    def most(self) -> int:
        return int(self.counts.max())

    @property
    def present(self) -> torch.Tensor:
        """(C, most) bool."""
        return torch.arange(self.most)[None] < self.counts[:, None]

    def pad(self, values: torch.Tensor) -> torch.Tensor:
        """Values (k, …) as (C, most, …)."""
        padded = values.new_zeros(len(self.counts), self.most, *values.shape[1:])
        padded[self.clients, torch.arange(len(values)) - self.first[self.clients]] = values
        return padded
