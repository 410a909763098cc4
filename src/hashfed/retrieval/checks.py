"""What every index asks of rows, counts and ids: one line that says what is wrong."""

import numpy as np
import torch

from hashfed.errors import HashfedError


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
