"""Updates whose norm is bounded, so that no single client can move the model far."""

import math
from collections.abc import Iterable

import numpy as np
import torch

from hashfed.errors import HashfedError
from hashfed.federated.messages import Update
from hashfed.retrieval.planes import Tail

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


def clip_update(update: Update, largest: float, tail: Tail | None = None) -> bool:
    """Scale an update that is longer than ``largest`` down to that norm; true where it was.

    The norm is that of the changes of body and rows together (as McMahan et al. 2018, "Learning
    Differentially Private Recurrent Language Models", flat clipping), those of the tail's rows among them.
    The arrays are scaled in place, each number by the same float32 factor: no copy is made, and the sums that
    follow see the same numbers whichever engine brought the update. The client's weight stays as it is.

    Args:
        update: expanded, all values finite, on the CPU.
        largest: > 0.
        tail: that its client was sent planes of, with what its norm needs; None: it was sent none.

    Raises:
        HashfedError: where the norm is not finite.

    """
    tensors = [
        *(update.body[name] for name in sorted(update.body)),
        update.rows,
        *(update.input_rows[name] for name in sorted(update.input_rows)),
    ]
    found = norm(tensors)
    if update.tail is not None and tail is not None:
        square = found**2 + tail_square(update, update.tail, tail)
        if not math.isfinite(square):
            raise HashfedError("returned a change of the tail whose norm is not finite")
        found = math.sqrt(max(0.0, square))
        tensors.append(update.tail)
    if found <= largest:
        return False
    for value in tensors:
        value.mul_(largest / found)
    return True


def tail_square(update: Update, change: torch.Tensor, tail: Tail) -> float:
    """By how much the square of the norm grows with what ``change``, G (K, d), does to the tail's rows.

    Rows that are not held move by π̂·G, so their square is tr(Gᵀ (Σ π̂ π̂ᵀ) G): K × K numbers stand for all of
    them. Those that are drawn move by the client's own change besides.
    """
    if tail.gram is None or tail.drawn is None:
        raise ValueError("the tail was made without what a norm needs")
    wide = change.double()
    total = float((wide * (tail.gram.double() @ wide)).sum())
    if update.ids is None:
        return total
    listed = tail.drawn[torch.from_numpy(np.searchsorted(tail.ids, update.ids))]
    return total + 2 * float(((listed.double() @ wide) * update.rows).sum())
