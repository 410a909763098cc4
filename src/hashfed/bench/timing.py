"""Repetitions by time: as many as a share of what is left allows, within a limit for all of them."""

import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import torch

Clock = Callable[[], float]
"""Seconds, from some moment on."""


@dataclass(frozen=True)
class Spread:
    """What repetitions came to.

    Attributes:
        median: of them.
        minimum: the least.
        maximum: the most.

    """

    median: float
    minimum: float
    maximum: float

    @classmethod
    def of(cls, values: Sequence[float]) -> "Spread":
        """Of one or more."""
        return cls(statistics.median(values), min(values), max(values))

    def to_json(self) -> dict[str, float]:
        """By name."""
        return dict(vars(self))


@dataclass
class TimeLimit:
    """Seconds for all that is measured.

    Attributes:
        seconds: in all.
        clock: tells the time.
        cells: that are still to be measured.

    """

    seconds: float
    clock: Clock
    cells: int
    _start: float = field(init=False)

    def __post_init__(self) -> None:
        self._start = self.clock()

    @property
    def spent(self) -> float:
        """Seconds so far."""
        return self.clock() - self._start

    @property
    def left(self) -> float:
        """Seconds, at least 0."""
        return max(0.0, self.seconds - self.spent)

    @property
    def share(self) -> float:
        """Seconds for each cell to come, where all get as many."""
        return self.left / max(1, self.cells)

    @property
    def most(self) -> float:
        """Seconds that one cell may take if it can do with no less: others may be left out for it."""
        return max(self.share, MOST_SHARE * self.left)


MOST_SHARE = 0.4
"""Of the time left, for one cell."""


def synchronized(device: str, clock: Clock) -> float:
    """The time once the device has done all that it was told to."""
    if device == "cuda":
        torch.cuda.synchronize()
    return clock()
