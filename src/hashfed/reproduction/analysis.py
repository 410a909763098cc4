"""What the runs of figure 1 say: curves, gaps to full, and the smallest budgets that are as good as full."""

import math
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass

from hashfed.reproduction.results import FULL, RunRow

WITHIN_POINTS = 0.05
"""Points of accuracy that a budget may lose to full and still count as good: the paper's (section 4.2)."""
WITHIN_NATS = 0.01
"""The same for the negative log-likelihood."""
_ROUNDING = 1e-9
"""So that a gap of just the tolerance is within it, whatever floats make of it."""


@dataclass(frozen=True)
class Spread:
    """A quantity over seeds.

    Attributes:
        values: one for each seed, in their order; may be none.

    """

    values: tuple[float, ...]

    @property
    def mean(self) -> float:
        """NaN without values."""
        return sum(self.values) / len(self.values) if self.values else math.nan

    @property
    def deviation(self) -> float | None:
        """Sample standard deviation; None with less than two values."""
        if len(self.values) < 2:
            return None
        squares = sum((value - self.mean) ** 2 for value in self.values)
        return math.sqrt(squares / (len(self.values) - 1))


@dataclass(frozen=True)
class Point:
    """A method at a budget.

    Attributes:
        method: its name.
        budget: its label.
        share: mean share of computed output parameters; where all runs failed, what other methods or its
            label say, NaN if neither does.
        runs: those with a result, by seed.
        failed: the others, by seed.

    """

    method: str
    budget: str
    share: float
    runs: tuple[RunRow, ...]
    failed: tuple[RunRow, ...]

    @property
    def accuracy(self) -> Spread:
        """Over seeds, as a fraction."""
        return Spread(tuple(run.accuracy for run in self.runs))

    @property
    def nll(self) -> Spread:
        """Over seeds, nats."""
        return Spread(tuple(run.nll for run in self.runs))


@dataclass(frozen=True)
class Gap:
    """How far a point is from full, in pairs of the same seed.

    Attributes:
        point: the method at its budget.
        seeds: of the pairs.
        accuracy: points of accuracy, the point's less full's: negative is worse.
        nll: nats, the point's less full's: positive is worse.

    """

    point: Point
    seeds: tuple[int, ...]
    accuracy: Spread
    nll: Spread

    @property
    def within_points(self) -> bool:
        """Whether no run failed and the mean loses at most ``WITHIN_POINTS``."""
        return not self.point.failed and self.accuracy.mean >= -WITHIN_POINTS - _ROUNDING

    @property
    def within_nats(self) -> bool:
        """Whether no run failed and the mean loses at most ``WITHIN_NATS``."""
        return not self.point.failed and self.nll.mean <= WITHIN_NATS + _ROUNDING


@dataclass(frozen=True)
class Smallest:
    """The smallest budgets of a method that are as good as full.

    A budget counts only if all larger ones of the method hold too, and if none of its runs failed.

    Attributes:
        method: its name.
        gaps: of all budgets, from the largest share.
        points: the smallest within ``WITHIN_POINTS`` of accuracy; None where there is none.
        nats: the smallest within ``WITHIN_NATS``; None where there is none.

    """

    method: str
    gaps: tuple[Gap, ...]
    points: Gap | None
    nats: Gap | None

    @property
    def known(self) -> bool:
        """Whether there is anything to decide by: a pair with full, or a failure."""
        return any(gap.seeds or gap.point.failed for gap in self.gaps)


def full_runs(runs: Sequence[RunRow], vocabulary: int) -> dict[int, RunRow]:
    """By seed: the full runs at the paper's sizes that have a result."""
    return {
        run.seed: run
        for run in sorted(runs, key=lambda run: run.seed)
        if (run.vocabulary, run.method, run.capacity, run.failed) == (vocabulary, FULL, "", "")
    }


def full_accuracy(runs: Sequence[RunRow], vocabulary: int) -> Spread:
    """Of the full runs, over seeds, as a fraction."""
    return Spread(tuple(run.accuracy for run in full_runs(runs, vocabulary).values()))


def curve(runs: Sequence[RunRow], vocabulary: int, method: str) -> tuple[Point, ...]:
    """The points of a method in figure 1, from the smallest share; failed runs are in none of the means.

    A share that nothing tells, of own rows and others, comes first.
    """
    mine = [run for run in runs if _drawn(run, vocabulary) and run.method == method]
    budgets = dict.fromkeys(run.budget for run in mine)
    points = [_point(runs, [run for run in mine if run.budget == budget]) for budget in budgets]
    return tuple(sorted(points, key=_place))


def gaps(runs: Sequence[RunRow], vocabulary: int, method: str) -> tuple[Gap, ...]:
    """Of all budgets of a method to full, from the largest share."""
    full = full_runs(runs, vocabulary)
    return tuple(_gap(point, full) for point in reversed(curve(runs, vocabulary, method)))


def smallest(runs: Sequence[RunRow], vocabulary: int, method: str) -> Smallest:
    """The smallest budgets of a method that are as good as full."""
    found = gaps(runs, vocabulary, method)
    return Smallest(
        method,
        found,
        _last_holding(found, lambda gap: gap.within_points),
        _last_holding(found, lambda gap: gap.within_nats),
    )


def paired(ours: Sequence[RunRow], others: Sequence[RunRow]) -> list[tuple[RunRow, RunRow]]:
    """Runs of the same seed."""
    by_seed = {run.seed: run for run in others}
    return [(run, by_seed[run.seed]) for run in ours if run.seed in by_seed]


def points_apart(pairs: Sequence[tuple[RunRow, RunRow]]) -> Spread:
    """Accuracy of the first of each pair less the second's, in points."""
    return Spread(tuple(100 * (one.accuracy - other.accuracy) for one, other in pairs))


def unified_accuracy(run: RunRow, largest_oov_rate: float) -> float:
    """Accuracy on the words of the largest vocabulary; those that this model has no row for count as wrong.

    Args:
        run: of any vocabulary.
        largest_oov_rate: share of out-of-vocabulary targets under the largest vocabulary.

    """
    return run.accuracy * (1 - run.oov_rate) / (1 - largest_oov_rate)


def _drawn(run: RunRow, vocabulary: int) -> bool:
    return "figure1" in run.experiments and run.vocabulary == vocabulary and not run.capacity


def _point(runs: Sequence[RunRow], mine: Sequence[RunRow]) -> Point:
    in_order = sorted(mine, key=lambda run: run.seed)
    finished = tuple(run for run in in_order if not run.failed)
    first = in_order[0]
    return Point(
        first.method,
        first.budget,
        Spread(tuple(run.share for run in finished)).mean if finished else _share_of_label(runs, first),
        finished,
        tuple(run for run in in_order if run.failed),
    )


def _place(point: Point) -> tuple[float, str]:
    return 0.0 if math.isnan(point.share) else point.share, point.budget


def _share_of_label(runs: Sequence[RunRow], failed: RunRow) -> float:
    """Of other methods' runs with the same budget, which hold as many rows; else the fraction itself."""
    alike = [
        run.share
        for run in runs
        if _drawn(run, failed.vocabulary) and run.budget == failed.budget and not run.failed
    ]
    if alike:
        return Spread(tuple(alike)).mean
    with suppress(ValueError):
        return float(failed.budget)
    return math.nan


def _gap(point: Point, full: dict[int, RunRow]) -> Gap:
    pairs = paired(point.runs, tuple(full.values()))
    return Gap(
        point,
        tuple(run.seed for run, _ in pairs),
        points_apart(pairs),
        Spread(tuple(run.nll - other.nll for run, other in pairs)),
    )


def _last_holding(found: Sequence[Gap], holds: Callable[[Gap], bool]) -> Gap | None:
    """The last before the first that does not hold."""
    last = None
    for gap in found:
        if not holds(gap):
            break
        last = gap
    return last
