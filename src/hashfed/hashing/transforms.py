"""Maps applied to the rows before hashing, so that small angles mean large inner products."""

import torch


def center(rows: torch.Tensor) -> torch.Tensor:
    """Rows (n, d) minus their mean.

    For one query q, q·(w − μ) = q·w − q·μ: every row loses the same constant, so the order of the
    inner products is unchanged, while the angles between rows spread (word vectors share a mean
    direction). Queries stay as they are.
    """
    return rows - rows.mean(dim=0)
