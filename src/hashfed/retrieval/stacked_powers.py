"""The exponentials of all rows at the points of many clients: one product for what would be one for each.

As ``evidence.softmax_mass`` and ``planes`` for a client, whose few points make a product that reads all rows
and does little with them.
"""

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch

from hashfed.hashing.parts import neighbours, padded
from hashfed.retrieval.evidence import PLAIN
from hashfed.retrieval.planes import PLAIN_SQUARES

LISTED = 4
"""One part of so many of the exponentials is set to zero at a time, by a list of long integers."""


@dataclass(frozen=True)
class StackedMoments:
    """Of each client's rows but its certain ones (``planes.TailMoments``).

    Attributes:
        sums: (K,) float64, of the exponentials at the points of all clients; 1 for a client without a tail.
        log_sums: (K,) float32, A.
        slopes: (K, d) float32, μ.
        squares: (C, k, k) float32, Σ π̂ π̂ᵀ, where it was asked for; zeros behind those of fewer points.

    """

    sums: torch.Tensor
    log_sums: torch.Tensor
    slopes: torch.Tensor
    squares: torch.Tensor | None


@dataclass(frozen=True)
class StackedPowers:
    """exp(points · rows) of several clients.

    Attributes:
        table: (n, d), the rows in the precision of the pass.
        sizes: points of each client.
        points: (K, d) float32 of all clients.
        values: (K, n), in that precision.
        sums: (K,) float64, over the rows.

    """

    table: torch.Tensor
    sizes: list[int]
    points: torch.Tensor
    values: torch.Tensor
    sums: torch.Tensor

    @classmethod
    def of(cls, table: torch.Tensor, points: Sequence[torch.Tensor]) -> "StackedPowers | None":
        """Of the points (K_c, d) of each client; None where an exponential may have overflowed."""
        every = torch.cat(list(points)).to(table.device)
        values = (every.to(table.dtype) @ table.T).exp_()
        sums = values.sum(1, dtype=torch.float32).double()
        if not bool(((sums > PLAIN[0]) & (sums < PLAIN[1])).all()):
            return None
        return cls(table, [len(of) for of in points], every, values, sums)

    @cached_property
    def ends(self) -> list[int]:
        """Where the points of each client end."""
        return list(itertools.accumulate(self.sizes))

    @cached_property
    def places(self) -> np.ndarray:
        """(C, k) int64: the points of each client; those of one with fewer begin anew, or are anybody's."""
        sizes = np.array(self.sizes)[:, None]
        inside = np.arange(max(self.sizes)) % np.maximum(sizes, 1)
        return np.asarray(np.minimum(np.array(self.ends)[:, None] - sizes + inside, len(self.points) - 1))

    def masses(self, clients: slice, counts: Sequence[np.ndarray | None]) -> torch.Tensor:
        """Σ_k counts_k softmax(rows · point_k) of each, (C, n) float64 (``evidence.softmax_mass``)."""
        start, stop, _ = clients.indices(len(self.sizes))
        sizes, first = self.sizes[start:stop], self.ends[start] - self.sizes[start]
        every = [np.ones(size) if of is None else of for size, of in zip(sizes, counts, strict=True)]
        shares = torch.from_numpy(np.concatenate(every)).to(self.values.device)
        part = slice(first, first + len(shares))
        weights, values = (shares / self.sums[part]).to(self.values.dtype), self.values[part]
        shape = stop - start, self.values.shape[1]
        mass = torch.zeros(shape, dtype=torch.float64, device=self.values.device)
        for some, rows, size in _runs(sizes):
            one, other = weights[rows].view(-1, 1, size), values[rows].view(-1, size, shape[1])
            mass[some].copy_(torch.bmm(one, other).squeeze(1))
        return mass

    def moments(self, certain: Sequence[np.ndarray], gram: bool) -> StackedMoments | None:
        """Of each client's rows but its ``certain`` ones, if any are left; ``values`` are then zero at these.

        Returns:
            None where a sum is too small or large to be exact.

        """
        whole = np.array([len(ids) == len(self.table) for ids in certain])
        some = [client for client, ids in enumerate(certain) if 0 < len(ids) < len(self.table)]
        self._remove(certain, [client for client in some if self.sizes[client]])
        sums = self.values.sum(1, dtype=torch.float32).double()
        if whole.any():
            # They have no tail, and no other's is to be summed anew for that.
            sums.masked_fill_(torch.from_numpy(np.repeat(whole, self.sizes)).to(sums.device), 1.0)
        least, most = PLAIN_SQUARES if gram else PLAIN
        if not bool(((sums > least) & (sums < most)).all()):
            return None
        scale = (1 / sums).float()
        slopes = (self.values @ self.table).float() * scale[:, None]
        squares = self._squares(scale) if gram else None
        return StackedMoments(sums, sums.log().float(), slopes, squares)

    def _remove(self, certain: Sequence[np.ndarray], clients: list[int]) -> None:
        """Set these clients' exponentials of their certain rows, at least one, to zero."""
        (count, size), device = self.values.shape, self.values.device
        flat, width = self.values.view(-1), max(self.sizes)
        for start, stop in neighbours([width * len(certain[one]) for one in clients], count * size // LISTED):
            some = clients[start:stop]
            ids = padded([certain[one] for one in some], -1, np.int64)
            ids = np.where(ids < 0, ids[:, :1], ids)
            rows = torch.from_numpy(self.places[some]).to(device) * size
            flat.index_fill_(0, (rows[:, :, None] + torch.from_numpy(ids).to(device)[:, None]).flatten(), 0)

    def _squares(self, scale: torch.Tensor) -> torch.Tensor:
        width = max(self.sizes)
        found = torch.zeros(len(self.sizes), width, width, device=scale.device)
        for some, rows, size in _runs(self.sizes):
            powers = self.values[rows].view(-1, size, self.values.shape[1])
            one = scale[rows].view(-1, size)
            squares = torch.bmm(powers, powers.transpose(1, 2)).float()
            found[some, :size, :size] = squares * (one[:, :, None] * one[:, None])
        return found


def _runs(sizes: Sequence[int]) -> Iterator[tuple[slice, slice, int]]:
    """Neighbours with as many points: which clients, which points, and how many each has."""
    client, point = 0, 0
    for size, some in itertools.groupby(sizes):
        count = len(list(some))
        if size:
            yield slice(client, client + count), slice(point, point + count * size), size
        client, point = client + count, point + count * size
