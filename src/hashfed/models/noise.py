"""Dropout whose draws are given, so that they are the same wherever a client trains."""

import numpy as np
import torch


def generator(rng: np.random.Generator) -> torch.Generator:
    """What torch draws from, begun with a number of ``rng``."""
    return torch.Generator().manual_seed(int(rng.integers(2**63)))


def dropout(x: torch.Tensor, rate: float, noise: torch.Generator | None) -> torch.Tensor:
    """Each number of ``x`` with the chance ``rate`` zero, the others divided by 1 − ``rate``.

    The draws are made on the CPU, whatever the device of ``x``; without noise nothing is dropped.
    """
    if noise is None or rate == 0:
        return x
    kept = torch.empty(x.shape, dtype=x.dtype).bernoulli_(1 - rate, generator=noise)
    return x * kept.div_(1 - rate).to(x.device)
