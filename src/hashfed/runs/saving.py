"""When a run's state is saved: often enough that a kill costs little, seldom enough that disks last.

A state that is not saved is not lost: the run goes on from the last one and computes the same bits again.
"""

import time
from collections.abc import Callable

SECONDS = 60.0
"""Of computing that a kill may cost."""
SHARE = 0.05
"""Of the time that saving may take: a large model is saved more seldom."""


class Saving:
    """Tells after each round whether to save."""

    def __init__(self, every: int | None, done: int, clock: Callable[[], float] = time.monotonic) -> None:
        """Begin after round ``done``, which is saved.

        Args:
            every: save after each so many rounds; None: by the clock.
            done: rounds.
            clock: seconds.

        """
        self.saved = done
        """The last round that is."""
        self._every, self._clock = every, clock
        self._last, self._wait = clock(), SECONDS

    def due(self, round: int) -> bool:
        """Whether the state after ``round`` is to be saved."""
        if self._every is not None:
            return round % self._every == 0
        return self._clock() - self._last >= self._wait

    def save(self, round: int, write: Callable[[], None]) -> None:
        """Save the state after ``round`` with ``write``."""
        start = self._clock()
        write()
        self.saved, self._last = round, self._clock()
        self._wait = max(SECONDS, (self._last - start) / SHARE)
