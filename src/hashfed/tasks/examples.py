"""What a client's data are to the core: examples, of which nothing is known but the rows that they need."""

from collections.abc import Mapping, Sequence
from typing import ClassVar, Protocol, Self

import numpy as np
import torch

from hashfed.models.batch import Batch


class Examples(Protocol):
    """Named columns, one example beside another; every example has at least one prediction."""

    batch_columns: ClassVar[tuple[str, ...]]
    """Names of the columns of their batches, which a model may read."""

    def __len__(self) -> int:
        """Number of examples."""
        ...

    def take(self, index: np.ndarray) -> Self:
        """Those at ``index`` (k,), in that order."""
        ...

    def join(self, others: Sequence[Self]) -> Self:
        """These, then the others."""
        ...

    @property
    def weights(self) -> np.ndarray:
        """(s,) int64: predictions of each."""
        ...

    @property
    def weight(self) -> int:
        """Number of predictions of all."""
        ...

    @property
    def shape(self) -> tuple[int, int]:
        """Number of examples, and positions of each: what a model's work depends on beside predictions."""
        ...

    def own(self, *tables: str) -> np.ndarray:
        """Ids of the rows that they need of tables which are one table: ascending, int64.

        Raises:
            KeyError: for a table that they have nothing of.

        """
        ...

    def columns(self) -> dict[str, np.ndarray]:
        """All that they are, for files, messages and checksums."""
        ...

    def bind(self, held: Mapping[str, np.ndarray | None], device: torch.device) -> "BoundExamples":
        """On a device, with positions in the rows at hand instead of ids.

        Args:
            held: by table, ids (m,) int64 ascending of the rows at hand; None for all, in order.
            device: for the tensors.

        """
        ...


class BoundExamples(Protocol):
    """Examples whose ids are positions in the rows at hand."""

    @property
    def weights(self) -> torch.Tensor:
        """(s,) int64: predictions of each."""
        ...

    def batch(self, index: torch.Tensor) -> Batch:
        """The examples at ``index`` (k,) int64, in that order."""
        ...


def join_columns(every: Sequence[Examples]) -> dict[str, np.ndarray]:
    """The columns of examples of one class, one after the other."""
    columns = [examples.columns() for examples in every]
    return {name: np.concatenate([one[name] for one in columns]) for name in columns[0]}


def positions(ids: np.ndarray, held: np.ndarray | None, device: torch.device) -> torch.Tensor:
    """Where rows stand among those at hand: int64, of the shape of ``ids``; anything for rows that do not."""
    found = ids.astype(np.int64) if held is None else np.searchsorted(held, ids)
    return torch.from_numpy(found).to(device)


def ranges(counts: np.ndarray, index: np.ndarray) -> np.ndarray:
    """Positions of the entries of the examples at ``index``, one after the other, int64."""
    return spans(np.cumsum(counts)[index], counts[index])


def spans(ends: np.ndarray, sizes: np.ndarray) -> np.ndarray:
    """Positions of spans that end there and are so long, one after the other, int64."""
    shift = np.repeat(ends - np.cumsum(sizes), sizes)
    return np.asarray(np.arange(int(sizes.sum())) + shift, np.int64)


def span_sizes(ends: np.ndarray, numbers: np.ndarray) -> np.ndarray:
    """How long some of the spans are that lie one after the other and end at ``ends``."""
    return np.asarray(ends[numbers] - np.where(numbers > 0, ends[numbers - 1], 0))
