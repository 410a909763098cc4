"""The exponentials of all rows at the points of many clients: one product for what would be one for each.

As ``evidence.softmax_mass`` and ``planes`` for a client, whose few points make a product that reads all rows
and does little with them.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from hashfed.retrieval.evidence import PLAIN
from hashfed.retrieval.planes import PLAIN_SQUARES, TailMoments


@dataclass(frozen=True)
class StackedPowers:
    """exp(points · rows) of several clients.

    Attributes:
        table: (n, d), the rows in the precision of the pass.
        parts: of ``points``, those of each client.
        points: (K, d) float32 of all clients.
        values: (K, n), in that precision.
        sums: (K,) float64, over the rows.

    """

    table: torch.Tensor
    parts: list[slice]
    points: torch.Tensor
    values: torch.Tensor
    sums: torch.Tensor

    @classmethod
    def of(cls, table: torch.Tensor, points: Sequence[torch.Tensor]) -> "StackedPowers | None":
        """Of the points (K_c, d) of each client; None where an exponential may have overflowed."""
        ends = np.cumsum([len(of) for of in points])
        every = torch.cat(list(points)).to(table.device)
        values = (every.to(table.dtype) @ table.T).exp_()
        sums = values.sum(1, dtype=torch.float32).double()
        if not bool(((sums > PLAIN[0]) & (sums < PLAIN[1])).all()):
            return None
        parts = [slice(end - len(of), end) for end, of in zip(ends.tolist(), points, strict=True)]
        return cls(table, parts, every, values, sums)

    def masses(self, clients: slice, counts: Sequence[np.ndarray | None]) -> torch.Tensor:
        """Σ_k counts_k softmax(rows · point_k) of each, (C, n) float64 (``evidence.softmax_mass``)."""
        parts, device = self.parts[clients], self.values.device
        mass = torch.empty(len(parts), self.values.shape[1], dtype=torch.float64, device=device)
        for row, part, of in zip(mass, parts, counts, strict=True):
            share = torch.ones(part.stop - part.start) if of is None else torch.from_numpy(of)
            weights = (share.to(device) / self.sums[part]).to(self.values.dtype)
            row.copy_(weights @ self.values[part])
        return mass

    def moments(self, certain: Sequence[np.ndarray], gram: bool) -> "list[TailMoments] | None":
        """Of each client's rows but its ``certain`` ones, if any are left; ``values`` are used up.

        Returns:
            None where a sum is too small or large to be exact.

        """
        sizes = [len(ids) for ids in certain]
        every = torch.from_numpy(np.concatenate(certain)).to(self.values.device)
        for part, ids in zip(self.parts, every.split(sizes), strict=True):
            self.values[part].index_fill_(1, ids, 0)
        sums = self.values.sum(1, dtype=torch.float32).double()
        for part, size in zip(self.parts, sizes, strict=True):
            if size == len(self.table):
                sums[part] = 1  # it has no tail, and no other's is to be summed anew for that
        least, most = PLAIN_SQUARES if gram else PLAIN
        if not bool(((sums > least) & (sums < most)).all()):
            return None
        scale = (1 / sums).float()
        slopes = (self.values @ self.table).float() * scale[:, None]
        logs = sums.log().float()
        found = []
        for part in self.parts:
            squares = None
            if gram:
                powers = self.values[part]
                squares = (powers @ powers.T).float() * (scale[part, None] * scale[part])
            found.append(TailMoments(logs[part], slopes[part], squares, self.values[part]))
        return found


def shares_of(sizes: Sequence[int], rows: int, most: int) -> list[slice]:
    """Parts of neighbouring clients, of ``sizes`` points each, of at most ``most`` exponentials together."""
    found, start, held = [], 0, 0
    for place, size in enumerate(sizes):
        if place > start and (held + size) * rows > most:
            found.append(slice(start, place))
            start, held = place, 0
        held += size
    return [*found, slice(start, len(sizes))]
