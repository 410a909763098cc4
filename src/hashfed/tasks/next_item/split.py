"""What of a history is trained on, and what is held out."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from hashfed.errors import HashfedError
from hashfed.tasks.next_item.log import History

FEWEST = 3
"""Items of a user who is split by leave-one-out: one for each part."""


@dataclass(frozen=True)
class Parts:
    """How many items, from the first on, come before the target of each part.

    Attributes:
        train: items that are trained on.
        validation: items before the validation target; 0 where there is none.
        test: likewise.

    """

    train: int
    validation: int
    test: int


def leave_one_out(count: int) -> Parts:
    """The last item is the test target, the one before that of validation; of too few items none is."""
    return Parts(count - 2, count - 2, count - 1) if count >= FEWEST else Parts(0, 0, 0)


def by_time(times: np.ndarray, cuts: tuple[float, float]) -> Parts:
    """The first items from each of two points in time on are the targets, where something came before.

    Args:
        times: (m,) ascending.
        cuts: from when on validation is, and from when on test is; what came before the first is trained on.

    """
    first, second = np.searchsorted(times, cuts, side="left").tolist()
    return Parts(first, first if first < second else 0, second if second < len(times) else 0)


def parts_of(history: History, cuts: tuple[float, float] | None, setting: str = "data.split") -> Parts:
    """By time where there are ``cuts``.

    Raises:
        HashfedError: where the history has no times to be split by.

    """
    if cuts is None:
        return leave_one_out(len(history.items))
    if history.times is None:
        raise HashfedError(f"{setting} = time: the source has no times (allowed: leave-one-out)")
    return by_time(history.times, cuts)


def time_cuts(histories: Sequence[History], share: float) -> tuple[float, float]:
    """Points in time after which are the last ``share`` of all interactions, and the last two such shares.

    Raises:
        HashfedError: where there are no times, or none between them.

    """
    times = [history.times for history in histories if history.times is not None]
    if not times:
        raise HashfedError("data.split = time: the source has no times (allowed: leave-one-out)")
    every = np.sort(np.concatenate(times))
    first, second = (float(every[int(len(every) * (1 - part))]) for part in (2 * share, share))
    if not every[0] < first < second:
        raise HashfedError(
            f"data.held_out_share = {share:g}: too few different times to split by "
            f"({every[0]:g} to {every[-1]:g})"
        )
    return first, second
