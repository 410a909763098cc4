"""Ask the C library to keep freed memory, or to give it back at once.

By default glibc returns big arrays (logits, gradients of the rows) to the kernel when they are freed and
faults the pages in again at the next step. Keeping them costs nothing, for the next step needs them again.
"""

import ctypes
import sys

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD, M_MMAP_MAX = -1, -3, -4
MAPPED_BYTES = 1 << 16
"""Arrays from this size on get a mapping of their own where memory is to be given back."""


def keep_memory() -> None:
    """Switch off trimming and per-array mappings, where the C library is glibc."""
    _set(M_MMAP_MAX, 0)
    _set(M_TRIM_THRESHOLD, 2**31 - 1)


def return_memory() -> None:
    """Give every big array its own mapping, which ends when it is freed, where the C library is glibc.

    Slower, but the resident bytes are then those in use. A heap also holds the gaps that freed arrays left
    and that no later array fits into: up to half as much again, and another amount in every process.
    """
    _set(M_MMAP_THRESHOLD, MAPPED_BYTES)


def give_back_gaps() -> None:
    """Return to the kernel what is free in the heap now, where the C library is glibc.

    Clients of many sizes one after another leave gaps that no later array fits into; they would add up.
    """
    _call("malloc_trim", 0)


def _set(name: int, value: int) -> None:
    _call("mallopt", name, value)


def _call(function: str, *arguments: int) -> None:
    if sys.platform.startswith("linux"):
        found = getattr(ctypes.CDLL(None), function, None)
        if found is not None:
            found(*arguments)
