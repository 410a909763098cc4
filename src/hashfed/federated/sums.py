"""The updates of a cohort, summed up to one pseudo-gradient (paper, section 3.2, step 6).

What is done to a client's update before it is summed, to the sum, or to its mean has its one place here.
"""

from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import torch

from hashfed.federated.clip import clip_update
from hashfed.federated.compression import expand
from hashfed.federated.messages import Update
from hashfed.federated.settings import ServerSettings
from hashfed.federated.tail import TailSum, check_tail_change
from hashfed.retrieval.planes import Tail

RowAverage = Literal["cohort", "holders", "fedsubavg"]

CHUNK = 4096
"""Rows moved at a time."""


@dataclass(frozen=True)
class PseudoGradient:
    """The cohort's mean change.

    Attributes:
        body: mean change by name.
        ids: (k,) int64 ascending: rows that at least one client held, or moved by planes.
        rows: (k, d) their mean change.
        loss: mean training loss, weighted by predictions, nats.

    """

    body: dict[str, torch.Tensor]
    ids: np.ndarray
    rows: torch.Tensor
    loss: float


@dataclass
class RowShares:
    """What share of all weight so far held each row (for ``fedsubavg``).

    Attributes:
        held: (n,) float64 summed weight of the clients that held a row.
        total: summed weight of all clients.

    """

    held: np.ndarray
    total: float = 0.0

    def add(self, ids: np.ndarray, weight: np.ndarray, total: float) -> None:
        """Count one round."""
        self.held[ids] += weight
        self.total += total

    def of(self, ids: np.ndarray) -> np.ndarray:
        """Expected share (k,) in (0, 1] of rows that have been held at least once."""
        return np.asarray(self.held[ids] / self.total)


def accept_update(settings: ServerSettings, update: Update, tail: Tail | None = None) -> tuple[Update, bool]:
    """What is summed of a client's update: expanded, checked, and not longer than ``settings.clip``.

    Arrays that need not be expanded are not copied, but scaled in place where the update is too long
    (``clip_update``).

    Args:
        settings: of the run.
        update: as it was received, or expanded already, on the CPU.
        tail: of its client, if it was sent planes.

    Returns:
        The update, and whether it was clipped.

    Raises:
        HashfedError: where the loss or a value is not finite or absurdly large, or a scale is missing.

    """
    update = expand(update)
    update.check_values()
    update.check_loss()
    if tail is not None and update.tail is not None:
        check_tail_change(tail, update.tail)
    return update, settings.clip is not None and clip_update(update, settings.clip, tail)


@dataclass
class UpdateSum:
    """The weighted sum of a cohort's updates, of which none is kept: memory does not grow with the cohort.

    It is one table (n, d), which becomes the mean.

    Attributes:
        table: (n, d) the model's rows, that the planes were made of; read.
        uniform: weigh every client 1 instead of its number of predictions.
        precision: of the products that spread changes of the tail.

    """

    table: torch.Tensor
    uniform: bool = False
    precision: torch.dtype = torch.float32
    _body: dict[str, torch.Tensor] = field(default_factory=dict, init=False)
    _rows: TailSum | None = field(default=None, init=False)
    """From the first update on: a table that nobody has written to need not be in memory."""
    _weight: float = field(default=0.0, init=False)
    _loss: float = field(default=0.0, init=False)
    _predictions: int = field(default=0, init=False)

    def __post_init__(self) -> None:
        self._held = np.zeros(len(self.table))

    def add(self, update: Update, tail: Tail | None = None) -> None:
        """Add one; what its client was sent planes of comes with it.

        A client whose update has a change of the tail moves every row, and so counts as a holder of all.
        Sums of floats depend on their order: callers add in order of the clients' names. Sums of integers do
        not, but would take 4 times as long for rows, 6 times for tails (each has to be rounded by itself, so
        that no two can share a product), and twice the memory (20 clients, 50 thousand rows of 96).
        """
        weight = 1.0 if self.uniform else float(update.weight)
        for name, change in update.body.items():
            self._body.setdefault(name, torch.zeros_like(change)).add_(change, alpha=weight)
        if self._rows is None:
            self._rows = TailSum(self.table, torch.zeros(self.table.shape), self.precision)
        if update.ids is None:
            self._rows.sums.add_(update.rows, alpha=weight)
        else:
            self._rows.sums.index_add_(0, torch.from_numpy(update.ids), update.rows, alpha=weight)
        if tail is not None and update.tail is not None:
            self._rows.add(tail, update.tail, weight)
        everything = update.ids is None or update.tail is not None
        self._held[slice(None) if everything else update.ids] += weight
        self._weight += weight
        self._loss += update.loss * update.weight
        self._predictions += update.weight

    def mean(self, rule: RowAverage, shares: RowShares) -> PseudoGradient:
        """The mean of at least one update, in the memory of the sum, which is of no use afterwards.

        For a row, the weighted sum of the changes is divided by the weight of the whole cohort
        (``cohort``), of the clients that held the row (``holders``), or by the cohort's weight times the
        row's share of holders over all rounds (``fedsubavg``, after Ding et al. 2022).

        Args:
            rule: how rows are averaged.
            shares: of all rounds before; this one is counted in.

        """
        if self._rows is None:
            raise ValueError("a cohort has at least one update")
        self._rows.finish()
        for change in self._body.values():
            change.div_(self._weight)
        ids = np.flatnonzero(self._held)
        held = self._held[ids]
        shares.add(ids, held, self._weight)
        if rule == "cohort":
            divisor = np.full(len(ids), self._weight)
        elif rule == "holders":
            divisor = held
        else:
            divisor = self._weight * shares.of(ids)
        mean = _move_to_front(self._rows.sums, ids)
        mean.div_(torch.from_numpy(divisor.astype(np.float32))[:, None])
        return PseudoGradient(self._body, ids, mean, self._loss / self._predictions)


def _move_to_front(rows: torch.Tensor, ids: np.ndarray) -> torch.Tensor:
    """``rows[ids]`` for ascending ``ids``, in the memory of ``rows``: a row only ever moves forward."""
    if len(ids) < len(rows):
        for start in range(0, len(ids), CHUNK):
            part = ids[start : start + CHUNK]
            rows[start : start + len(part)] = rows[torch.from_numpy(part)]
    return rows[: len(ids)]
