"""Updates whose norm is bounded, so that no single client can move the model far."""

import math
from collections.abc import Iterable

import torch

from hashfed.federated.messages import Update

PART = 1 << 15
"""Numbers squared at a time: no float64 copy of a table is made, and a sum of so few is not split among
threads, so that its order is always the same."""


def norm(tensors: Iterable[torch.Tensor]) -> float:
    """L2 norm of all arrays together, summed in float64 in the order given."""
    total = 0.0
    for value in tensors:
        for part in value.flatten().split(PART):
            total += part.double().square_().sum().item()
    return math.sqrt(total)


def clip_update(update: Update, largest: float) -> bool:
    """Scale an update that is longer than ``largest`` down to that norm; true where it was.

    The norm is that of the changes of body and rows together (as McMahan et al. 2018, "Learning
    Differentially Private Recurrent Language Models", flat clipping). The arrays are scaled in place, each
    number by the same float32 factor: no copy is made, and the sums that follow see the same numbers
    whichever engine brought the update. The client's weight stays as it is.

    Args:
        update: expanded, all values finite, on the CPU.
        largest: > 0.

    """
    tensors = [*update.body.values(), update.rows]
    found = norm(tensors)
    if found <= largest:
        return False
    for value in tensors:
        value.mul_(largest / found)
    return True
