"""What clients' low-rank changes do to the rows that they did not hold.

A client returns G (K, d), one change for each of its planes (``retrieval.planes``); it moves the rows of its
tail by factor_i Σ_j π̂_ij G_j. For a cohort that is one product of all points with all rows, a tile of rows
at a time: nothing of size clients × n is made.
"""

from dataclasses import dataclass, field

import numpy as np
import torch

from hashfed.errors import HashfedError
from hashfed.federated.messages import LARGEST_CHANGE
from hashfed.retrieval.planes import Tail, add_product

MOST_POINTS = 1 << 10
"""Of several clients that are multiplied with the rows at a time; the changes of more do not wait."""
TILE_LOGITS = 1 << 17
"""Of one tile of rows and all points that wait (512 KiB)."""
FEWEST_ROWS = 256
"""Of a tile; fewer make the product slow."""


@dataclass
class TailSum:
    """Adds the tails' changes to a table of sums.

    Attributes:
        rows: (n, d) float32, the model's, that the planes were made of.
        sums: (n, d) float32, changed in place.
        precision: of the products.

    """

    rows: torch.Tensor
    sums: torch.Tensor
    precision: torch.dtype = torch.float32
    _waiting: list[tuple[Tail, torch.Tensor]] = field(default_factory=list, init=False)

    def add(self, tail: Tail, change: torch.Tensor, weight: float) -> None:
        """Add ``weight`` times what ``change``, G (K, d), does to all rows; at the latest in ``finish``."""
        most = max(len(held.points) for held in (tail, *(one for one, _ in self._waiting)))
        if (len(self._waiting) + 1) * most > MOST_POINTS:
            self.finish()
        self._waiting.append((tail, change * weight))

    def finish(self) -> None:
        """Add all that waits."""
        if self._waiting:
            spread(self.rows, self._waiting, self.sums, self.precision)
            self._waiting.clear()


def spread(
    rows: torch.Tensor,
    changes: list[tuple[Tail, torch.Tensor]],
    sums: torch.Tensor,
    precision: torch.dtype = torch.float32,
) -> None:
    """Add Σ_clients factor_i Σ_j π̂_ij G_j to every row i of ``sums`` (n, d), in place.

    Args:
        rows: (n, d) float32.
        changes: tail and G (K, d) of each client.
        sums: (n, d) float32.
        precision: of the products. The factors have mean zero over draws, whatever is wrong about π̂.

    """
    most = max(len(tail.points) for tail, _ in changes)
    width = len(changes) * most
    points, log_sums = torch.zeros(width, rows.shape[1]), torch.zeros(width)
    moves = torch.zeros(width, rows.shape[1])
    for client, (tail, change) in enumerate(changes):
        part = slice(client * most, client * most + len(tail.points))
        points[part], log_sums[part], moves[part] = tail.points, tail.log_sums, change
    turned, moves, log_sums = (value.to(precision) for value in (points.T.contiguous(), moves, log_sums))
    step = max(FEWEST_ROWS, TILE_LOGITS // width)
    ends = [np.searchsorted(tail.ids, np.arange(0, len(rows) + step, step)) for tail, _ in changes]
    for tile, start in enumerate(range(0, len(rows), step)):
        block = rows[start : start + step].to(precision)
        # π̂ of a row of the tail is at most 1; that of a certain one may be anything, and counts nothing.
        logits = torch.addmm(log_sums, block, turned, beta=-1)
        shares = logits.clamp_max_(0).exp_().view(len(block), len(changes), most)
        factors = torch.ones(len(block), len(changes))
        for client, (tail, _) in enumerate(changes):
            held = slice(ends[client][tile], ends[client][tile + 1])
            factors[torch.from_numpy(tail.ids[held] - start), client] = tail.factors[held]
        shares.mul_(factors[:, :, None])
        add_product(sums[start : start + step], shares.view(len(block), width), moves)


def check_tail_change(tail: Tail, change: torch.Tensor) -> None:
    """Refuse a G that could move a row of the tail by more than ``LARGEST_CHANGE``.

    Raises:
        HashfedError: with the bound.

    """
    most = float((tail.reach * change.abs().amax(1)).sum())
    if not most <= LARGEST_CHANGE:
        raise HashfedError(
            f"returned a change of the tail that may move a row by {most:g}, more than {LARGEST_CHANGE:g}; "
            "the training diverged: lower client.learning_rate or server.learning_rate, or set client.clip"
        )
