"""Numbers of a reproduction as texts."""

import math

from hashfed.report.page import NONE, byte_count, percent_of_rows, signed
from hashfed.reproduction.analysis import Gap, Smallest, Spread
from hashfed.reproduction.results import RunRow

HOUR = 3600.0


def accuracy(found: Spread) -> str:
    """In percent with ± the sample standard deviation, which one seed does not have."""
    return _with_spread(Spread(tuple(100 * value for value in found.values)), 2)


def nats(found: Spread) -> str:
    """With ± the sample standard deviation."""
    return _with_spread(found, 3)


def points(value: float) -> str:
    """A difference in points."""
    return NONE if math.isnan(value) else signed(value, 2)


def nats_apart(value: float) -> str:
    """A difference in nats."""
    return NONE if math.isnan(value) else signed(value, 3)


def each_seed(found: Spread, digits: int) -> str:
    """Differences of each seed."""
    return ", ".join(signed(value, digits) for value in found.values) or NONE


def share(value: float) -> str:
    """Of the output parameters; whole percents without a point."""
    return NONE if math.isnan(value) else percent_of_rows(value).replace(".0%", "%")


def budget(label: str, computed: float) -> str:
    """The share that was computed, and the budget where that is not a share."""
    return f"{share(computed)} ({label})" if label.startswith("own") else share(computed)


def smallest(found: Gap | None, known: bool) -> str:
    """The smallest budget; ``none`` where all budgets were too small, and a dash where nobody knows."""
    if found is None:
        return "none" if known else NONE
    return budget(found.point.budget, found.point.share)


def smallest_points(found: Smallest) -> str:
    """That within the tolerance in accuracy."""
    return smallest(found.points, found.known)


def smallest_nats(found: Smallest) -> str:
    """That within the tolerance in negative log-likelihood."""
    return smallest(found.nats, found.known)


def parameters(value: float) -> str:
    """Their number, as the paper writes it."""
    if math.isnan(value):
        return NONE
    return f"{value / 1e6:.2f}M" if value >= 1e5 else f"{value / 1e3:.1f}K"


def memory(value: float) -> str:
    """Measured bytes."""
    return NONE if math.isnan(value) else byte_count(value)


def size(run: RunRow) -> str:
    """Such as ``d 96, FFN 1,536, 3 blocks``."""
    return f"d\u00a0{run.embedding}, FFN\u00a0{run.ffn:,}, {count(run.blocks, 'block')}".replace(
        " block", "\u00a0block"
    )


def count(number: int, what: str) -> str:
    """Such as ``1 run`` and ``2 runs``."""
    return f"{number:,} {what}{'' if number == 1 else 's'}"


def duration(seconds: float) -> str:
    """In the unit that suits it."""
    if seconds < 120:
        return f"{seconds:.0f} seconds"
    return f"{seconds / 60:.0f} minutes" if seconds < 2 * HOUR else f"{seconds / HOUR:.1f} hours"


def _with_spread(found: Spread, digits: int) -> str:
    if not found.values:
        return NONE
    text = f"{found.mean:.{digits}f}"
    return text if found.deviation is None else f"{text}\u00a0±\u00a0{found.deviation:.{digits}f}"
