"""A clock for the server of a network run and its loopback: how busy the machine is makes nobody late."""

import time
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

import pytest

import loopback
from hashfed.engines.background import begin
from hashfed.engines.flower import pulls
from hashfed.engines.network import members, play, post, rounds


class Clock:
    """In place of the module ``time``: time goes on only where somebody sleeps, and at once.

    Attributes:
        now: seconds.
        hanging: pulls that will not end; all others have ended before time goes on.

    """

    def __init__(self) -> None:
        self.now, self.hanging = 1000.0, 0
        self._pulls: list[Future[Any]] = []

    def monotonic(self) -> float:
        """Now."""
        return self.now

    def perf_counter(self) -> float:
        """The machine's own, for what is only noted."""
        return time.perf_counter()

    def sleep(self, seconds: float) -> None:
        """Let so many seconds pass once whatever is on its way has come."""
        while sum(not pull.done() for pull in self._pulls) > self.hanging:
            time.sleep(0.001)
        self._pulls = [pull for pull in self._pulls if not pull.done()]
        self.now += seconds

    def stand_in(self, patch: pytest.MonkeyPatch) -> None:
        """Take the place of the real one."""

        def remembered(work: Callable[[], Any]) -> "Future[Any]":
            self._pulls.append(begin(work))
            return self._pulls[-1]

        for module in (loopback, members, play, post, pulls, rounds):
            patch.setattr(module, "time", self)
        patch.setattr(pulls, "begin", remembered)
