"""The updates of a cohort, summed up to one pseudo-gradient (paper, section 3.2, step 6).

What is done to a client's update before it is summed, to the sum, or to its mean has its one place here.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import torch

from hashfed.errors import HashfedError
from hashfed.federated.clip import clip_update, norm
from hashfed.federated.compression import expand
from hashfed.federated.messages import Update
from hashfed.federated.settings import ServerSettings
from hashfed.federated.tail import TailSum, check_tail_change
from hashfed.models.protocol import OUTPUT
from hashfed.retrieval.planes import Tail
from hashfed.retrieval.stacked_planes import StackedTails

RowAverage = Literal["cohort", "holders", "fedsubavg"]

CHUNK = 4096
"""Rows moved at a time."""


@dataclass(frozen=True)
class RowChanges:
    """Mean changes of one table.

    Attributes:
        ids: (k,) int64 ascending: rows that at least one client held, or moved by planes.
        rows: (k, d) their mean change.

    """

    ids: np.ndarray
    rows: torch.Tensor


@dataclass(frozen=True)
class PseudoGradient:
    """The cohort's mean change.

    Attributes:
        body: mean change by name.
        tables: those of all tables of the model, by name.
        loss: mean training loss, weighted by predictions, nats.

    """

    body: dict[str, torch.Tensor]
    tables: dict[str, RowChanges]
    loss: float


@dataclass
class RowShares:
    """What share of all weight so far held each row (for ``fedsubavg``).

    Attributes:
        held: (n,) float64 by table: summed weight of the clients that held a row.
        total: summed weight of all clients.

    """

    held: dict[str, np.ndarray]
    total: float = 0.0

    @classmethod
    def fresh(cls, sizes: Mapping[str, int]) -> "RowShares":
        """Before the first round."""
        return cls({name: np.zeros(size) for name, size in sizes.items()})

    def copy(self) -> "RowShares":
        """The same, to be counted on without changing this."""
        return RowShares({name: held.copy() for name, held in self.held.items()}, self.total)

    def add(self, table: str, ids: np.ndarray, weight: np.ndarray) -> None:
        """Count the holders of a table's rows in one round, whose weight is added to ``total`` by itself."""
        self.held[table][ids] += weight

    def of(self, table: str, ids: np.ndarray) -> np.ndarray:
        """Expected share (k,) in (0, 1] of rows that have been held at least once."""
        return np.asarray(self.held[table][ids] / self.total)


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
class TableSum:
    """The weighted sum of changes of one table: one table of the same size, which becomes the mean.

    Attributes:
        table: (n, d) the model's; read, where planes were made of it.
        precision: of the products that spread changes of the tail.

    """

    table: torch.Tensor
    precision: torch.dtype = torch.float32
    _sums: TailSum | None = field(default=None, init=False)
    """From the first change on: a table that nobody has written to need not be in memory."""

    def __post_init__(self) -> None:
        self._held = np.zeros(len(self.table))

    def add(
        self,
        ids: np.ndarray | None,
        rows: torch.Tensor,
        weight: float,
        tail: Tail | None = None,
        change: torch.Tensor | None = None,
    ) -> None:
        """Add ``weight`` times the change of rows (m, d), of all where there are no ``ids``.

        Args:
            ids: (m,).
            rows: new minus old.
            weight: of the client.
            tail: that it was sent planes of, if it was.
            change: (K, d), G, what the tail's rows are to be moved by. A client that has one moves every row,
                and so counts as a holder of all.

        """
        if ids is None:
            self.sums.sums.add_(rows, alpha=weight)
        else:
            places = torch.from_numpy(ids).to(rows.device)
            self.sums.sums.index_add_(0, places, rows, alpha=weight)
        if tail is not None and change is not None:
            self.sums.add(tail, change, weight)
        self.hold(None if change is not None else ids, weight)

    def hold(self, ids: np.ndarray | None, weight: float) -> None:
        """Count a client of this weight that held these rows, or all."""
        self._held[slice(None) if ids is None else ids] += weight

    @property
    def sums(self) -> TailSum:
        """Of all changes so far; to be added to."""
        if self._sums is None:
            self._sums = TailSum(self.table, torch.zeros_like(self.table), self.precision)
        return self._sums

    def mean(self, name: str, rule: RowAverage, shares: RowShares, weight: float) -> RowChanges:
        """See ``UpdateSum.mean``; the sum is of no use afterwards.

        Args:
            name: of the table.
            rule: how rows are averaged.
            shares: of all rounds, but for this round's holders, who are counted in.
            weight: of the whole cohort.

        """
        if self._sums is None:
            raise ValueError("a cohort has at least one update")
        self._sums.finish()
        ids = np.flatnonzero(self._held)
        held = self._held[ids]
        shares.add(name, ids, held)
        if rule == "cohort":
            divisor = np.full(len(ids), weight)
        elif rule == "holders":
            divisor = held
        else:
            divisor = weight * shares.of(name, ids)
        mean = _move_to_front(self._sums.sums, ids)
        mean.div_(torch.from_numpy(divisor.astype(np.float32)).to(mean.device)[:, None])
        return RowChanges(ids, mean)


@dataclass(frozen=True)
class SummedUpdates:
    """What several clients changed, each times its weight.

    Attributes:
        body: sums by name.
        tables: by table, ids (k,) int64 and changes (k, w), a row perhaps several times; or None and (n, w).
        held: of each client by table, ids of the rows that it held; None for all.
        tails: those that clients were sent planes of, and (C, k, d), the change of each, G, times the weight;
            fewer where the last clients have none, None where no client has any.
        predictions: of each client.
        loss: the sum over all predictions, nats.

    """

    body: dict[str, torch.Tensor]
    tables: dict[str, tuple[torch.Tensor | None, torch.Tensor]]
    held: list[dict[str, np.ndarray | None]]
    tails: tuple[StackedTails, torch.Tensor] | None
    predictions: list[int]
    loss: float


@dataclass
class UpdateSum:
    """The weighted sum of a cohort's updates, of which none is kept: memory does not grow with the cohort.

    Attributes:
        tables: the model's.
        uniform: weigh every client 1 instead of its number of predictions.
        precision: of the products that spread changes of the tail.

    """

    tables: Mapping[str, torch.Tensor]
    uniform: bool = False
    precision: torch.dtype = torch.float32
    _body: dict[str, torch.Tensor] = field(default_factory=dict, init=False)
    _weight: float = field(default=0.0, init=False)
    _loss: float = field(default=0.0, init=False)
    _predictions: int = field(default=0, init=False)

    def __post_init__(self) -> None:
        self._sums = {name: TableSum(table, self.precision) for name, table in self.tables.items()}

    def add(self, update: Update, tail: Tail | None = None) -> None:
        """Add one; what its client was sent planes of comes with it.

        Sums of floats depend on their order: callers add in order of the clients' names. Sums of integers do
        not, but would take 4 times as long for rows, 6 times for tails (each has to be rounded by itself, so
        that no two can share a product), and twice the memory (20 clients, 50 thousand rows of 96).
        """
        weight = 1.0 if self.uniform else float(update.weight)
        for name, change in update.body.items():
            self._body.setdefault(name, torch.zeros_like(change)).add_(change, alpha=weight)
        self._sums[OUTPUT].add(update.ids, update.rows, weight, tail, update.tail)
        for name, rows in update.input_rows.items():
            self._sums[name].add(update.inputs[name], rows, weight)
        self._weight += weight
        self._loss += update.loss * update.weight
        self._predictions += update.weight

    def add_cohort(self, summed: "SummedUpdates") -> None:
        """Add what several clients changed; its arrays are of no other use afterwards."""
        if self._body:
            torch._foreach_add_([self._body[name] for name in summed.body], list(summed.body.values()))
        else:
            self._body = dict(summed.body)
        for name, (ids, changes) in summed.tables.items():
            sums = self._sums[name].sums.sums
            if ids is None:
                sums.add_(changes)
            else:
                sums.index_add_(0, ids, changes)
        has_tail = [False] * len(summed.predictions)
        if summed.tails is not None:
            self._sums[OUTPUT].sums.add_many(*summed.tails)
            for client, count in enumerate(summed.tails[0].counts):
                has_tail[client] = count > 0
        for client, predictions in enumerate(summed.predictions):
            weight = 1.0 if self.uniform else float(predictions)
            for name, held in summed.held[client].items():
                self._sums[name].hold(None if has_tail[client] and name == OUTPUT else held, weight)
            self._weight += weight
        self._loss += summed.loss
        self._predictions += sum(summed.predictions)

    def mean(self, rule: RowAverage, shares: RowShares) -> PseudoGradient:
        """The mean of at least one update, in the memory of the sum, which is of no use afterwards.

        For a row, the weighted sum of the changes is divided by the weight of the whole cohort
        (``cohort``), of the clients that held the row (``holders``), or by the cohort's weight times the
        row's share of holders over all rounds (``fedsubavg``, after Ding et al. 2022).

        Args:
            rule: how rows are averaged.
            shares: of all rounds before; this one is counted in.

        """
        if self._body:
            torch._foreach_div_(list(self._body.values()), self._weight)
        shares.total += self._weight
        tables = {name: part.mean(name, rule, shares, self._weight) for name, part in self._sums.items()}
        return PseudoGradient(self._body, tables, self._loss / self._predictions)


SLACK = 1.05
"""Of the norm of a mean of clipped updates, for what is known of its rounding in the mean alone."""


def check_norm(gradient: PseudoGradient, largest: float, rounding: float, round: int) -> None:
    """Refuse a mean that is longer than any update was to be: somebody did not clip, nobody knows who.

    Args:
        gradient: the mean of a cohort.
        largest: norm of an update.
        rounding: about what rounding adds to the norm, by squares.
        round: its number.

    Raises:
        HashfedError: naming the round.

    """
    found = norm(
        [
            *(gradient.body[name] for name in sorted(gradient.body)),
            *(gradient.tables[name].rows for name in sorted(gradient.tables)),
        ]
    )
    if not found <= math.hypot(largest, rounding) * SLACK:
        raise HashfedError(
            f"round {round}: the mean of the cohort's updates has norm {found:g}: must be at most "
            f"server.clip = {largest:g}, to which each client clips its own; the sum is not used. The next "
            "cohort, or another seed, may do better"
        )


def _move_to_front(rows: torch.Tensor, ids: np.ndarray) -> torch.Tensor:
    """``rows[ids]`` for ascending ``ids``, in the memory of ``rows``: a row only ever moves forward."""
    if len(ids) < len(rows):
        for start in range(0, len(ids), CHUNK):
            part = ids[start : start + CHUNK]
            rows[start : start + len(part)] = rows[torch.from_numpy(part).to(rows.device)]
    return rows[: len(ids)]
