"""What is asked of rows, counts, ids and named arrays: one line that says what is wrong."""

from collections.abc import Mapping

import numpy as np
import torch

from hashfed.errors import HashfedError

Expected = tuple[tuple[type, ...], tuple[int, ...]]
"""Types that an array may have, and its shape."""


def check_arrays(
    found: Mapping[str, np.ndarray], expected: Mapping[str, Expected], shorter: bool = False
) -> None:
    """Raise a HashfedError unless there are exactly these arrays, with their types and shapes, all finite.

    ``shorter``: there may be fewer, but not none, along the first axis.
    """
    odd = sorted(set(expected) ^ set(found))
    if odd:
        raise HashfedError(f"{odd[0]}: is in only one of it and this configuration")
    for name, (dtypes, shape) in expected.items():
        value = found[name]
        fits = value.shape == shape
        if shorter and value.ndim == len(shape):
            fits = value.shape[1:] == shape[1:] and 0 < value.shape[0] <= shape[0]
        if value.dtype not in dtypes or not fits:
            allowed = " or ".join(str(np.dtype(dtype)) for dtype in dtypes)
            raise HashfedError(
                f"{name} of type {value.dtype} and shape {value.shape}: must be {allowed}, {shape}"
                f"{' or less' if shorter else ''}"
            )
        # A sum is not finite if any value is not; large values may add up to more than a float32.
        if value.dtype.kind == "f" and not np.isfinite(value.sum(dtype=np.float64)):
            raise HashfedError(f"{name}: has a value that is not finite")


def check_rows(rows: torch.Tensor, ids: np.ndarray | None = None) -> None:
    """Raise a HashfedError unless ``rows`` is a finite float32 matrix (n, d) with n, d ≥ 1.

    ``ids`` (n,) name the rows where they are not 0 to n − 1.
    """
    if rows.ndim != 2 or 0 in rows.shape or rows.dtype != torch.float32:
        kind = str(rows.dtype).removeprefix("torch.")
        raise HashfedError(
            f"rows of type {kind} and shape {tuple(rows.shape)}: must be float32, (n, d), n and d at least 1"
        )
    # A sum is not finite if any value is not; only then it is worth looking for the row. (Large values may
    # add up to more than a float32: then none is found.)
    if not bool(torch.isfinite(rows.sum())):
        for bad in torch.isfinite(rows).all(1).logical_not_().nonzero()[:1, 0].tolist():
            raise HashfedError(f"row {bad if ids is None else ids[bad]} is not finite")


def check_counts(prior: np.ndarray, size: int) -> None:
    """Raise a HashfedError unless ``prior`` holds ``size`` finite numbers that are not negative."""
    if prior.shape != (size,):
        raise HashfedError(f"label counts of shape {prior.shape}: must be ({size},), one for each row")
    bad = np.flatnonzero(~(np.isfinite(prior) & (prior >= 0)))
    if len(bad):
        raise HashfedError(f"label count {prior[bad[0]]} of row {bad[0]}: must be finite and not negative")


def check_ids(ids: np.ndarray, size: int) -> None:
    """Raise a HashfedError unless ``ids`` are ascending distinct integers in [0, size)."""
    if ids.ndim != 1 or ids.dtype.kind not in "iu":
        raise HashfedError(f"ids of type {ids.dtype} and shape {ids.shape}: must be a list of integers")
    if len(ids) and (ids.min() < 0 or ids.max() >= size):
        raise HashfedError(f"ids from {ids.min()} to {ids.max()}: this index has rows 0 to {size - 1}")
    falls = np.flatnonzero(ids[1:] <= ids[:-1])
    if len(falls):
        before, after = ids[falls[0]], ids[falls[0] + 1]
        raise HashfedError(f"ids {before}, {after}: must ascend without repetition")
