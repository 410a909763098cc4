"""Examples that are histories with one target each: what comes after all of it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch

from hashfed.models.batch import Batch, Targets
from hashfed.models.protocol import INPUT, OUTPUT
from hashfed.tasks.examples import join_columns, positions, ranges


@dataclass(frozen=True)
class Histories:
    """Items that somebody had, the oldest first, and the next one.

    Attributes:
        items: (f,) int32 rows, history after history.
        counts: (s,) int64 how many each has, at least 1.
        read: (s,) int64 how many of these, the last ones, a model reads.
        targets: (s,) int32 the row to be found.

    """

    items: np.ndarray
    counts: np.ndarray
    read: np.ndarray
    targets: np.ndarray

    batch_columns: ClassVar[tuple[str, ...]] = ("inputs", "predicted", "read")

    def __len__(self) -> int:
        """Number of histories."""
        return len(self.counts)

    def take(self, index: np.ndarray) -> "Histories":
        """See ``Examples``."""
        items = self.items[ranges(self.counts, index)]
        return Histories(items, self.counts[index], self.read[index], self.targets[index])

    def join(self, others: "Sequence[Histories]") -> "Histories":
        """See ``Examples``."""
        return Histories(**join_columns([self, *others]))

    @property
    def weights(self) -> np.ndarray:
        """(s,) int64 ones."""
        return np.ones(len(self), np.int64)

    @property
    def weight(self) -> int:
        """Number of histories."""
        return len(self)

    @property
    def shape(self) -> tuple[int, int]:
        """(s, most items that are read of one)."""
        return len(self), int(self.read.max(initial=0))

    def own(self, *tables: str) -> np.ndarray:
        """See ``Examples``."""
        grid, read = self.grid()
        columns = {INPUT: grid[read], OUTPUT: self.targets}
        return np.unique(np.concatenate([columns[table] for table in tables])).astype(np.int64)

    def columns(self) -> dict[str, np.ndarray]:
        """See ``Examples``."""
        return dict(vars(self))

    def grid(self) -> tuple[np.ndarray, np.ndarray]:
        """What is read, (s, T) rows from the first position on, and where they are, (s, T) bool."""
        place = np.arange(self.shape[1])
        read = place < self.read[:, None]
        at = (np.cumsum(self.counts) - self.read)[:, None] + place
        return self.items[np.where(read, at, at[:, :1])], read

    def bind(self, held: Mapping[str, np.ndarray | None], device: torch.device) -> "BoundHistories":
        """See ``Examples``; the column ``read`` (s, T) is true on a prefix, ``predicted`` at its end.

        Items of the history are excluded from the answers, but for the target, where all rows are at hand.
        """
        grid, read = self.grid()
        everything = held[OUTPUT] is None
        return BoundHistories(
            self if everything else None,
            positions(grid, held[INPUT], device),
            torch.from_numpy(read).to(device),
            torch.from_numpy(np.arange(grid.shape[1]) == self.read[:, None] - 1).to(device),
            positions(self.targets, held[OUTPUT], device),
        )


@dataclass(frozen=True)
class BoundHistories:
    """The same as positions in the rows at hand; ``examples`` where these are all."""

    examples: Histories | None
    inputs: torch.Tensor
    read: torch.Tensor
    predicted: torch.Tensor
    targets: torch.Tensor

    @property
    def weights(self) -> torch.Tensor:
        """See ``BoundExamples``."""
        return torch.ones(len(self.targets), dtype=torch.int64, device=self.targets.device)

    def batch(self, index: torch.Tensor) -> Batch:
        """See ``BoundExamples``."""
        targets, excluded = self.targets[index], None
        if self.examples is not None:
            chosen = self.examples.take(index.cpu().numpy())
            excluded = Targets(
                torch.from_numpy(chosen.items.astype(np.int64)).to(targets.device),
                torch.from_numpy(chosen.counts).to(targets.device),
            )
        return Batch(
            columns={
                "inputs": self.inputs[index],
                "read": self.read[index],
                "predicted": self.predicted[index],
            },
            tables={"inputs": INPUT},
            targets=Targets(targets, excluded=excluded),
        )
