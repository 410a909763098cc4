"""Examples that are sequences: at each position the next row is to be found."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch

from hashfed.models.batch import Batch, Targets
from hashfed.models.protocol import INPUT, OUTPUT
from hashfed.tasks.examples import join_columns, positions

PAD = 0
"""The target of a position that has none."""


@dataclass(frozen=True)
class Sequences:
    """Padded sequences: at position t the model reads ``inputs[:, t]`` and predicts ``targets[:, t]``.

    Attributes:
        inputs: (s, T) int32 ids of rows of the input table, which may be the output table.
        targets: (s, T) int32 ids of rows of the output table; PAD from the sequence's end on.

    """

    inputs: np.ndarray
    targets: np.ndarray

    batch_columns: ClassVar[tuple[str, ...]] = ("inputs", "predicted")

    @classmethod
    def imagine(cls, count: int, length: int, predictions: int) -> "Sequences":
        """So many of one row, with predictions spread evenly (``Task.imagine``)."""
        weights = np.full(count, predictions // count)
        weights[: predictions % count] += 1
        targets = (np.arange(length) < weights[:, None]).astype(np.int32)
        return cls(np.zeros_like(targets), targets)

    def __len__(self) -> int:
        """Number of sequences."""
        return len(self.inputs)

    def take(self, index: np.ndarray) -> "Sequences":
        """See ``Examples``."""
        return Sequences(self.inputs[index], self.targets[index])

    def join(self, others: "Sequence[Sequences]") -> "Sequences":
        """See ``Examples``."""
        every = [self, *others]
        if len({one.inputs.shape[1] for one in every}) == 1:
            return Sequences(**join_columns(every))
        length = max(one.inputs.shape[1] for one in every)
        inputs, targets = (np.zeros((sum(map(len, every)), length), np.int32) for _ in range(2))
        start = 0
        for one in every:
            part = slice(start, start + len(one)), slice(one.inputs.shape[1])
            inputs[part], targets[part] = one.inputs, one.targets
            start += len(one)
        return Sequences(inputs, targets)

    @property
    def weights(self) -> np.ndarray:
        """(s,) int64: positions with a target."""
        return np.asarray(np.count_nonzero(self.targets != PAD, axis=1), np.int64)

    @property
    def weight(self) -> int:
        """Number of positions with a target."""
        return int(np.count_nonzero(self.targets != PAD))

    @property
    def shape(self) -> tuple[int, int]:
        """(s, T)."""
        return len(self.inputs), self.inputs.shape[1]

    def own(self, *tables: str) -> np.ndarray:
        """See ``Examples``."""
        used, columns = self.targets != PAD, {INPUT: self.inputs, OUTPUT: self.targets}
        return np.unique(np.concatenate([columns[table][used] for table in tables])).astype(np.int64)

    def columns(self) -> dict[str, np.ndarray]:
        """See ``Examples``."""
        return {"inputs": self.inputs, "targets": self.targets}

    def bind(self, held: Mapping[str, np.ndarray | None], device: torch.device) -> "BoundSequences":
        """See ``Examples``; the column ``predicted`` (s, T) is true on a prefix of each sequence.

        Where more is read than that, as by examples of other classes, the column ``read`` (s, T) says what.
        """
        used = self.targets != PAD
        # What is read without a prediction need not be at hand: any row will do.
        read = np.where(used, self.inputs, self.inputs[used][:1])
        return BoundSequences(
            positions(read, held[INPUT], device),
            positions(self.targets, held[OUTPUT], device),
            torch.from_numpy(used).to(device),
        )


@dataclass(frozen=True)
class BoundSequences:
    """Sequences as positions in the rows at hand, each (s, T)."""

    inputs: torch.Tensor
    targets: torch.Tensor
    predicted: torch.Tensor

    @property
    def weights(self) -> torch.Tensor:
        """See ``BoundExamples``."""
        return self.predicted.sum(1)

    def batch(self, index: torch.Tensor) -> Batch:
        """See ``BoundExamples``."""
        predicted = self.predicted[index]
        return Batch(
            columns={"inputs": self.inputs[index], "predicted": predicted},
            tables={"inputs": INPUT},
            targets=Targets(self.targets[index][predicted]),
        )
