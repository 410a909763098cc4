"""Cut or pad candidates to the budget: the rows a client trains on, and the estimator's correction.

A selection is A ∪ T. A is included with certainty: the client's own rows and the best candidates. T is
a uniform tail of t rows drawn from the n − |A| others. With log_weight 0 on A and log((n − |A|)/t) on
T, Σ exp(logit + log_weight) is an unbiased estimate of the full layer's partition function (Bengio &
Senécal 2008; Rastogi & Van Durme 2015). The paper's estimator leaves the logits as they are.
"""

import math
from dataclasses import dataclass

import numpy as np

from hashfed.errors import HashfedError
from hashfed.retrieval.protocol import Candidates
from hashfed.retrieval.settings import SelectionSettings


@dataclass(frozen=True)
class Selection:
    """The rows that one client trains on.

    Attributes:
        ids: (m,) int64, ascending, distinct.
        log_weight: (m,) float32, added to the logits.

    """

    ids: np.ndarray
    log_weight: np.ndarray

    @classmethod
    def all(cls, size: int) -> "Selection":
        """All ``size`` rows, without correction."""
        return cls(np.arange(size), np.zeros(size, np.float32))


def budget_rows(budget: float, size: int) -> int:
    """The budget in rows: the fraction ``budget`` of ``size`` rows, rounded, at least 1."""
    return max(1, round(budget * size))


def extra_rows(extra: float, size: int) -> int:
    """Rows beyond the own ones: the fraction ``extra`` of ``size`` rows, rounded, or their number from 1."""
    return round(extra * size) if extra < 1 else int(extra)


def extra_label(extra: float) -> str:
    """The same as people say it: ``own+1%``, ``own+300``."""
    return f"own+{extra * 100:g}%" if extra < 1 else f"own+{extra:g}"


def device_rows(settings: SelectionSettings, size: int, dimension: int, own: int | None = None) -> int:
    """Rows that a client may hold of ``size`` rows of length ``dimension``: the least limit.

    Args:
        settings: of the run.
        size: n.
        dimension: d.
        own: rows that the client's data needs; None where they are not known yet, so that only limits count
            which do not depend on them.

    Raises:
        HashfedError: where not one row fits in ``settings.max_bytes``.

    """
    if settings.extra is None:
        limits = [budget_rows(settings.budget, size)]
    else:
        limits = [size if own is None else max(1, min(size, own + extra_rows(settings.extra, size)))]
    if settings.max_rows is not None:
        limits.append(settings.max_rows)
    if settings.max_bytes is not None:
        limits.append(settings.max_bytes // (4 * dimension))
        if limits[-1] == 0:
            raise HashfedError(
                f"selection.max_bytes = {settings.max_bytes}: one row takes {4 * dimension} bytes"
            )
    return min(limits)


def select(
    own: np.ndarray,
    candidates: Candidates,
    size: int,
    budget: int,
    tail: float,
    corrected: bool,
    rng: np.random.Generator,
    extra: int = 0,
) -> Selection:
    """Own rows, then the best candidates, then uniform rows up to the budget.

    Args:
        own: (o,) int64 distinct ids that the client's data needs; always selected. Where they exceed
            the budget the selection is just these.
        candidates: the index's answer. Equal scores are cut at random, so a union of buckets is
            subsampled uniformly (paper, section 3.1).
        size: n, the number of rows.
        budget: rows to select, from 1 to n.
        tail: share of the budget kept for the uniform tail, in [0, 1]. Where the candidates do not
            fill the rest, the tail takes that too (the paper's padding).
        corrected: raise the tail's logits (see above), or leave them (the paper's estimator).
        rng: this client's stream for this round.
        extra: candidates to send beyond the budget, for a client that drops some of them.

    """
    if budget >= size:
        return Selection.all(size)
    certain = np.zeros(size, bool)
    certain[own] = True
    room = max(0, budget - round(tail * budget) - len(own))
    best = _best(candidates, certain, room + extra, rng) if room > 0 else np.empty(0, np.int64)
    certain[best] = True
    sure = int(np.count_nonzero(certain))
    chosen = certain.copy()
    drawn = min(budget - len(own) - min(len(best), room), size - sure)
    if drawn > 0:
        others = np.flatnonzero(~certain)
        chosen[rng.choice(others, drawn, replace=False, shuffle=False)] = True
    ids = np.flatnonzero(chosen)
    log_weight = np.zeros(len(ids), np.float32)
    if corrected and drawn > 0:
        log_weight[~certain[ids]] = math.log((size - sure) / drawn)
    return Selection(ids, log_weight)


def _best(candidates: Candidates, taken: np.ndarray, count: int, rng: np.random.Generator) -> np.ndarray:
    """The ``count`` best candidates that are not ``taken`` (fewer if there are fewer)."""
    ids, own = candidates.ids, taken[candidates.ids]
    free = len(ids) - int(np.count_nonzero(own))
    if free <= count:
        return np.asarray(ids[~own])
    # Marked, not left out: a copy without a few rows costs more than all that follows.
    scores = np.where(own, -np.inf, candidates.scores)
    threshold = np.partition(scores, len(scores) - count)[len(scores) - count]
    above = ids[np.flatnonzero(scores > threshold)]
    ties = ids[np.flatnonzero(scores == threshold)]
    drawn = rng.choice(ties, count - len(above), replace=False, shuffle=False)
    return np.asarray(np.concatenate([above, drawn]))
