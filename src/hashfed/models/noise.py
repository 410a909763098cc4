"""Dropout whose draws are given, so that they are the same wherever a client trains."""

import numpy as np
import torch


def generator(rng: np.random.Generator) -> torch.Generator:
    """What torch draws from, begun with a number of ``rng``."""
    return torch.Generator().manual_seed(int(rng.integers(2**63)))


def draw_dropout(shape: tuple[int, ...], rate: float, noise: torch.Generator) -> torch.Tensor:
    """What to multiply with: zero with the chance ``rate``, else 1 / (1 − ``rate``); float32 on the CPU."""
    return torch.empty(shape).bernoulli_(1 - rate, generator=noise).div_(1 - rate)


def dropout(x: torch.Tensor, drawn: torch.Tensor | None) -> torch.Tensor:
    """``x`` times what was drawn for it; without draws nothing is dropped."""
    return x if drawn is None else x * drawn
