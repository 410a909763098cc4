"""Batches of several clients as one, each padded with zeros to the largest."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch

from hashfed.models.batch import Batch


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

    def part(self, clients: slice) -> "StackedTargets":
        """Those of some clients."""
        return StackedTargets(*(value[clients] for value in vars(self).values()))


@dataclass(frozen=True)
class StackedBatch:
    """A batch of each of C clients.

    Attributes:
        columns: (C, …) by name, what a model reads.
        tables: which of them are positions in rows, by name the table that has these.
        targets: of their predictions.

    """

    columns: Mapping[str, torch.Tensor]
    tables: Mapping[str, str]
    targets: StackedTargets

    @classmethod
    def of(cls, batches: Sequence[Batch]) -> "StackedBatch":
        """One of each client, packed to be stacked (``Model.pack``), on the CPU."""
        columns = {name: pad([one.columns[name] for one in batches]) for name in batches[0].columns}
        targets = [one.targets for one in batches]
        counts, dtype = torch.tensor([len(one) for one in targets]), torch.get_default_dtype()
        present = (torch.arange(int(counts.max()))[None] < counts[:, None]).to(dtype)
        if all(one.counts is None for one in targets):
            owners = torch.arange(present.shape[1]).expand(len(batches), -1)
            shares = present
        else:
            owners = pad([one.owners for one in targets])
            each = [torch.ones(len(one)) if one.counts is None else one.counts.to(dtype) for one in targets]
            shares = pad([(1 / count)[one.owners] for count, one in zip(each, targets, strict=True)])
        rows = pad([one.rows for one in targets])
        return cls(
            columns,
            batches[0].tables,
            StackedTargets(rows, owners, shares, present, counts.to(dtype)),
        )

    def to(self, device: torch.device) -> "StackedBatch":
        """On a device."""
        if device.type == "cpu":
            return self
        columns = {name: value.to(device, non_blocking=True) for name, value in self.columns.items()}
        targets = (value.to(device, non_blocking=True) for value in vars(self.targets).values())
        return StackedBatch(columns, self.tables, StackedTargets(*targets))


def pad(values: Sequence[torch.Tensor]) -> torch.Tensor:
    """Arrays of one number of dimensions as one (C, …), with zeros at the end of each dimension."""
    shape = [max(sizes) for sizes in zip(*(value.shape for value in values), strict=True)]
    stacked = torch.zeros(len(values), *shape, dtype=values[0].dtype)
    for place, value in zip(stacked, values, strict=True):
        place[tuple(slice(size) for size in value.shape)] = value
    return stacked
