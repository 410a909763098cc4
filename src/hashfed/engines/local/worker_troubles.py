"""Why a worker process could not start, or ended: one line with the reason and the remedy."""

import errno
import re
import resource
import signal

from hashfed.errors import HashfedError
from hashfed.hardware import free_memory

DESCRIPTORS = 20
"""Descriptors that a process has open at most while workers start; the main one has one more for each."""
MISTAKE = "mistake: "
"""How the text of a worker begins that could not start for a reason that the user can mend."""


def not_started(count: int, number: int | None, reason: str) -> HashfedError:
    """What kept a worker from being started, from the kernel's error number, and the remedy."""
    if number in (errno.EMFILE, errno.ENFILE):
        limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        return HashfedError(
            f"workers = {count}: too few file descriptors (ulimit -n is {limit}, {count + DESCRIPTORS} are "
            "enough): raise ulimit -n or lower workers"
        )
    if number == errno.EAGAIN:
        return HashfedError(
            f"workers = {count}: no further process or thread may be started ({reason}): lower workers, or "
            "raise ulimit -u or the container's limit of processes"
        )
    if number == errno.ENOMEM:
        return HashfedError(
            f"workers = {count}: no memory for a further process ({free_memory()}): lower workers"
        )
    return HashfedError(f"workers = {count}: a process cannot be started ({reason}); workers = 1 needs none")


def start_problem(count: int, text: str) -> Exception:
    """What a worker itself, a mistake or a traceback, say kept it from starting."""
    if text.startswith(MISTAKE):
        return HashfedError(text.removeprefix(MISTAKE))
    last = text.strip().splitlines()[-1]
    if "Too many open files" in last:
        return not_started(count, errno.EMFILE, last)
    if "Resource temporarily unavailable" in last or "can't start new thread" in last:
        return not_started(count, errno.EAGAIN, last)
    if last.startswith("MemoryError") or "annot allocate memory" in last or "can't allocate memory" in last:
        return HashfedError(
            f"workers = {count}: memory ran out in a worker that was starting ({free_memory()}): lower "
            "workers"
        )
    if last.startswith(("ImportError:", "ModuleNotFoundError:")):
        return HashfedError(f"workers = {count}: a worker process cannot import what it needs ({last})")
    if (own := _IN_THE_PROGRAM.search(last)) is not None:
        return HashfedError(
            f"workers = {count}: {own[1]} is defined in the program that was started, which worker processes "
            "do not run: move it to a module that the program imports, or set workers = 1"
        )
    return RuntimeError(f"in a worker process that was starting:\n{text}")


def how_it_ended(code: int | None) -> str:
    """Of a process that said nothing before: ``code`` is negative after a signal, None while it runs."""
    if code is None:
        return "closed its connection, and has not ended since"
    if code >= 0:
        return f"ended with exit code {code}; if it wrote why, that is above"
    try:
        name = signal.Signals(-code).name
    except ValueError:
        name = f"signal {-code}"
    reason = _REMEDIES.get(-code, "")
    return f"was ended by {name} (exit code {code}){reason}"


_IN_THE_PROGRAM = re.compile(r"Can't get attribute '([^']+)' on <module '__main__'")
_REMEDIES: dict[int, str] = {
    signal.SIGKILL: "; if nobody did that by hand, memory ran out: lower workers",
    signal.SIGBUS: "; memory that it shares or a file that it maps could not be read or written: the "
    "disk or the container's memory is full",
    signal.SIGXCPU: "; its limit of CPU time (ulimit -t) is used up",
    signal.SIGILL: "; a library was built for another processor",
}
