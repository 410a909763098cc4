"""Updates of a cohort to one pseudo-gradient (paper, section 3.2, step 6)."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch

from hashfed.federated.messages import Update
from hashfed.federated.tail import TailSum
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
        held_weight: (k,) float64 summed weight of the clients that held each.
        weight: summed weight of the cohort.
        loss: mean training loss, weighted by predictions, nats.

    """

    body: dict[str, torch.Tensor]
    ids: np.ndarray
    rows: torch.Tensor
    held_weight: np.ndarray
    weight: float
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


def aggregate(
    updates: Iterable[tuple[Update, Tail | None]],
    table: torch.Tensor,
    rule: RowAverage,
    shares: RowShares,
    uniform: bool = False,
    precision: torch.dtype = torch.float32,
) -> PseudoGradient:
    """Weighted mean of the updates, added up in the order given, one at a time.

    Each update is asked for when the one before has been added and is not kept, so memory does not grow
    with the cohort: it is one table of sums (n, d), which becomes the result.

    For a row, the weighted sum of the changes is divided by the weight of the whole cohort
    (``cohort``), of the clients that held the row (``holders``), or by the cohort's weight times the
    row's share of holders over all rounds (``fedsubavg``, after Ding et al. 2022), which ``shares``
    keeps and this call updates. A client whose update has a change of the tail moves every row, and so
    counts as a holder of all.

    Args:
        updates: at least one, each with the tail that its client was sent planes of, if it was; callers give
            them in order of the clients' names, so that sums do not depend on who answered first.
        table: (n, d) the model's rows, that the planes were made of; read.
        rule: how rows are averaged.
        shares: of all rounds before.
        uniform: weigh every client 1 instead of its number of predictions.
        precision: of the products that spread changes of the tail.

    """
    body: dict[str, torch.Tensor] = {}
    rows: torch.Tensor | None = None
    tails: TailSum | None = None
    held = np.zeros(len(table))
    weight, loss, predictions = 0.0, 0.0, 0
    for update, tail in updates:
        w = 1.0 if uniform else float(update.weight)
        for name, change in update.body.items():
            body.setdefault(name, torch.zeros_like(change)).add_(change, alpha=w)
        if rows is None:
            rows = torch.zeros(len(table), update.rows.shape[1])
            tails = TailSum(table, rows, precision)
        if update.ids is None:
            rows.add_(update.rows, alpha=w)
        else:
            rows.index_add_(0, torch.from_numpy(update.ids), update.rows, alpha=w)
        if tail is not None and tails is not None and update.tail is not None:
            tails.add(tail, update.tail, w)
        if update.ids is None or update.tail is not None:
            held += w
        else:
            held[update.ids] += w
        weight += w
        loss += update.loss * update.weight
        predictions += update.weight
    if rows is None or tails is None:
        raise ValueError("a cohort has at least one update")
    tails.finish()
    for change in body.values():
        change.div_(weight)
    ids = np.flatnonzero(held)
    shares.add(ids, held[ids], weight)
    if rule == "cohort":
        divisor = np.full(len(ids), weight)
    elif rule == "holders":
        divisor = held[ids]
    else:
        divisor = weight * shares.of(ids)
    mean = _move_to_front(rows, ids).div_(torch.from_numpy(divisor.astype(np.float32))[:, None])
    return PseudoGradient(body, ids, mean, held[ids], weight, loss / predictions)


def _move_to_front(rows: torch.Tensor, ids: np.ndarray) -> torch.Tensor:
    """``rows[ids]`` for ascending ``ids``, in the memory of ``rows``: a row only ever moves forward."""
    if len(ids) < len(rows):
        for start in range(0, len(ids), CHUNK):
            part = ids[start : start + CHUNK]
            rows[start : start + len(part)] = rows[torch.from_numpy(part)]
    return rows[: len(ids)]
