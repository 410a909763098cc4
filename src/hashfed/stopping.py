"""Signals that ask a process to end: Ctrl-C, SIGTERM (Docker, Slurm, systemd), SIGHUP (a closed terminal)."""

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import FrameType

STOPPING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Stopped(KeyboardInterrupt):
    """SIGTERM or SIGHUP came: treated as Ctrl-C is, wherever that is.

    Attributes:
        signal: the number of the signal.

    """

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.signal = number


def signal_code(stop: BaseException) -> int:
    """What shells report of a process that such a signal ended: 128 + its number (130 after Ctrl-C)."""
    return 128 + int(getattr(stop, "signal", signal.SIGINT))


class Interrupted(Exception):  # noqa: N818 (no error: the user asked for it)
    """The run was asked to stop; the server's state is that of the last finished round.

    Attributes:
        signal: that asked.

    """

    signal: int = signal.SIGINT


@contextmanager
def handled(handler: Callable[[int], None]) -> Iterator[None]:
    """Call ``handler`` with the number of such a signal that comes within the block.

    What was ignored before is still ignored, as ``nohup`` and shells that start a process in the background
    want it. Outside the main thread nothing changes: signals do not arrive there.
    """
    before = _install(handler)
    try:
        yield
    finally:
        for number, old in before.items():
            signal.signal(number, old)


@contextmanager
def raised() -> Iterator[None]:
    """Within the block such a signal raises KeyboardInterrupt; after SIGTERM or SIGHUP they raise no more.

    A terminal that closes sends SIGHUP twice: the kernel and the shell do. The second must not end what the
    first one has to put in order. A second Ctrl-C is a person who does not want to wait.
    """
    asked = False

    def stop(number: int) -> None:
        nonlocal asked
        if number == signal.SIGINT:
            raise KeyboardInterrupt
        if not asked:
            asked = True
            raise Stopped(number)

    with handled(stop):
        yield


def end_at_once() -> None:
    """From now on such a signal ends this process with one line: there is nothing in hand yet.

    Not by an exception: libraries that are being imported swallow some.
    """

    def end(number: int) -> None:
        with suppress(OSError):
            os.write(2, b"hashfed: stopped\n")
        os._exit(128 + number)

    _install(end)


def end_silently() -> None:
    """From now on such a signal has its usual effect on a process: all work is done, and told."""
    for number in STOPPING:
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, signal.SIG_DFL)


@contextmanager
def blocked() -> Iterator[None]:
    """Within the block such signals wait; a process that is started in it never gets them.

    A signal to a whole group of processes then reaches its first one alone, which ends the others in order.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, STOPPING)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _install(handler: Callable[[int], None]) -> dict[signal.Signals, "signal._HANDLER"]:
    """Returns what there was before."""
    if threading.current_thread() is not threading.main_thread():
        return {}

    def handle(number: int, frame: FrameType | None) -> None:
        handler(number)

    kept = (signal.SIG_IGN, None)  # None: not by Python
    numbers = [number for number in STOPPING if signal.getsignal(number) not in kept]
    return {number: signal.signal(number, handle) for number in numbers}
