"""Ask the C library to keep freed memory.

By default glibc returns big arrays (logits, gradients of the rows) to the kernel when they are freed and
faults the pages in again at the next step. Keeping them costs nothing, for the next step needs them again.
"""

import ctypes
import sys

M_TRIM_THRESHOLD, M_MMAP_MAX = -1, -4


def keep_memory() -> None:
    """Switch off trimming and per-array mappings, where the C library is glibc."""
    if not sys.platform.startswith("linux"):
        return
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(M_MMAP_MAX, 0)
        mallopt(M_TRIM_THRESHOLD, 2**31 - 1)
