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
from hashfed.retrieval.evidence import CHUNK_LOGITS
from hashfed.retrieval.planes import Tail, add_product
from hashfed.retrieval.stacked_planes import StackedTails

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

    def add_many(self, tails: StackedTails, changes: torch.Tensor) -> None:
        """Add what the changes (C, k, d) of several clients, each times its weight, do to all rows."""
        for clients in tails.parts(MOST_POINTS):
            some = tails.part(clients)
            moves = changes[clients, : some.points.shape[1]]
            spread_stacked(self.rows, some, moves, self.sums, self.precision)

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
    stacked = StackedTails.stack([tail for tail, _ in changes])
    moves = torch.zeros_like(stacked.points)
    for place, (tail, change) in zip(moves, changes, strict=True):
        place[: len(tail.points)] = change
    spread_stacked(rows, stacked, moves, sums, precision)


def spread_stacked(
    rows: torch.Tensor,
    tails: StackedTails,
    changes: torch.Tensor,
    sums: torch.Tensor,
    precision: torch.dtype = torch.float32,
) -> None:
    """``spread`` of changes (C, k, d), zeros behind those of a client with fewer points."""
    clients, most, _ = changes.shape
    width = clients * most
    if width == 0:
        return
    points, log_sums, moves = tails.points.flatten(0, 1), tails.log_sums.flatten(), changes.flatten(0, 1)
    rounded = log_sums.to(precision)
    # A is exact in less precision too, but where it is as large as no trained model's.
    moves = moves * torch.exp((rounded.float() - log_sums).clamp_(-0.5, 0.5))[:, None]
    turned, moves, log_sums = points.T.contiguous().to(precision), moves.to(precision), rounded
    # A GPU has no such cache: few large products keep it busy.
    step = max(FEWEST_ROWS, (CHUNK_LOGITS if rows.is_cuda else TILE_LOGITS) // width)
    listed = _Listed.of(tails, len(rows), step, rows.device)
    for tile, start in enumerate(range(0, len(rows), step)):
        block = rows[start : start + step].to(precision)
        # No row of the tail has a π̂ above 1: what rounding makes of it must not move a row far.
        shares = torch.addmm(log_sums, block, turned, beta=-1).clamp_max_(0).exp_()
        listed.move(tile, shares.view(len(block), clients, most))
        add_product(sums[start : start + step], shares, moves)


@dataclass(frozen=True)
class _Listed:
    """The rows that clients hold, of all clients in order of rows: few of a tile's.

    Attributes:
        rows: (l,) int64, places in their tiles.
        clients: (l,) int64.
        factors: (l, 1) float32.
        ends: where the rows of each tile begin.

    """

    rows: torch.Tensor
    clients: torch.Tensor
    factors: torch.Tensor
    ends: np.ndarray

    @classmethod
    def of(cls, tails: StackedTails, size: int, step: int, device: torch.device) -> "_Listed":
        rows = np.concatenate(tails.ids)
        clients = np.repeat(np.arange(len(tails.ids)), [len(ids) for ids in tails.ids])
        order = np.argsort(rows, kind="stable")
        return cls(
            torch.from_numpy(rows[order] % step).to(device),
            torch.from_numpy(clients[order]).to(device),
            torch.from_numpy(np.concatenate(tails.factors)[order])[:, None].to(device),
            np.searchsorted(rows[order], np.arange(0, size + step, step)),
        )

    def move(self, tile: int, shares: torch.Tensor) -> None:
        """Multiply π̂ of these rows in ``shares`` (rows of a tile, clients, K) by their factors, in place."""
        part = slice(self.ends[tile], self.ends[tile + 1])
        where, factors = (self.rows[part], self.clients[part]), self.factors[part]
        shares[where] = (shares[where] * factors).to(shares.dtype)


def check_tail_change(tail: Tail, change: torch.Tensor) -> None:
    """Refuse a G that could move a row of the tail by more than ``LARGEST_CHANGE``.

    Raises:
        HashfedError: with the bound.

    """
    check_reach(float((tail.reach * change.abs().amax(1)).sum()))


def check_reach(most: float) -> None:
    """See ``check_tail_change``; ``most``: by how much it may move a number of a row."""
    if not most <= LARGEST_CHANGE:
        raise HashfedError(
            f"returned a change of the tail that may move a row by {most:g}, more than {LARGEST_CHANGE:g}; "
            "the training diverged: lower client.learning_rate or server.learning_rate, or set client.clip"
        )
