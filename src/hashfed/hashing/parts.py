"""Arrays of many clients: cut into parts that have at most so much each, and padded to one."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np


def neighbours(sizes: Sequence[int] | np.ndarray, most: int) -> Iterator[tuple[int, int]]:
    """Ranges (start, stop) of neighbours with at most ``most`` in all, but at least one neighbour."""
    ends, start = np.cumsum(sizes), 0
    while start < len(sizes):
        before = int(ends[start - 1]) if start else 0
        stop = max(start + 1, int(np.searchsorted(ends, before + most, "right")))
        yield start, stop
        start = stop


def padded(arrays: Sequence[np.ndarray], fill: float, dtype: Any, least: int = 0) -> np.ndarray:
    """Arrays (m,) as one, (C, most m), at least ``least`` wide, with ``fill`` behind shorter ones."""
    sizes = np.array([len(one) for one in arrays])
    found = np.full((len(arrays), max(least, int(sizes.max()))), fill, dtype)
    found[np.arange(found.shape[1]) < sizes[:, None]] = np.concatenate(arrays)
    return found
