"""Numbers as integers that can be summed under masks, and back.

A block of numbers has a public range r; with b bits a number x becomes L · x / r, where L = 2^(b − 1) − 1,
rounded at random to one of the integers beside it, so that its mean is exact. What is beyond ±r becomes ±L.
The sum of n such integers is within ±n · L, for which ``parameters.sum_bits(b, n)`` bits are enough.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from hashfed.errors import ClientDivergedError, HashfedError

PART = 1 << 16
"""Numbers rounded at a time."""


@dataclass(frozen=True)
class Block:
    """Numbers of a vector that lie beside each other.

    Attributes:
        length: how many.
        range: of their magnitudes, > 0.

    """

    length: int
    range: float

    def __post_init__(self) -> None:
        """Refuse what is no range, or no length."""
        if not (0 < self.range < np.inf and self.length >= 0):
            raise HashfedError(
                f"{self.length} numbers within ±{self.range}: a range must be finite and above 0, "
                "a length at least 0"
            )


@dataclass(frozen=True)
class Quantised:
    """A client's vector.

    Attributes:
        numbers: (m,) int32 within ±``levels(bits)``.
        clipped: how many were beyond their block's range.

    """

    numbers: np.ndarray
    clipped: int


def levels(bits: int) -> int:
    """L, the largest integer of so many bits, from 2 to 32; −L is the smallest that is used."""
    if not 2 <= bits <= 32:
        raise HashfedError(f"bits of a value = {bits}: must be from 2 to 32")
    return (1 << (bits - 1)) - 1


def quantise(
    values: np.ndarray, blocks: Sequence[Block], bits: int, generator: np.random.Generator
) -> Quantised:
    """Numbers as integers, rounded at random.

    Args:
        values: (m,) float32 or float64.
        blocks: whose lengths add up to m.
        bits: of an integer, from 2 to 32.
        generator: of one number in [0, 1) for each value, in order.

    Raises:
        ClientDivergedError: where a number is not finite.
        HashfedError: where the blocks have more or fewer numbers.

    """
    most = levels(bits)
    _check_length(values, blocks)
    numbers = np.empty(len(values), np.int32)
    clipped = 0
    for start, stop, width in _parts(blocks):
        scaled = values[start:stop].astype(np.float64)
        if not np.isfinite(scaled).all():
            raise ClientDivergedError(
                f"numbers {start} to {stop - 1} of what the client adds are not finite: the training diverged"
            )
        clipped += int(np.count_nonzero(np.abs(scaled) > width))
        np.clip(scaled, -width, width, out=scaled)
        scaled /= width
        scaled *= most
        below = np.floor(scaled)
        scaled -= below  # exact, and so 0 for a number that is an integer: it stays what it is
        below += generator.random(len(scaled)) < scaled
        numbers[start:stop] = below
    return Quantised(numbers, clipped)


def dequantise(total: np.ndarray, blocks: Sequence[Block], bits: int) -> np.ndarray:
    """The sum of clients' numbers that a sum of their integers stands for.

    Args:
        total: (m,) signed integers: the plain sum.
        blocks: as of ``quantise``.
        bits: as of ``quantise``: of a client's integers, not of the sum.

    Returns:
        (m,) float64.

    Raises:
        HashfedError: where the blocks have more or fewer numbers.

    """
    most = levels(bits)
    _check_length(total, blocks)
    found = np.empty(len(total), np.float64)
    for start, stop, width in _parts(blocks):
        found[start:stop] = total[start:stop] * (width / most)
    return found


def _check_length(values: np.ndarray, blocks: Sequence[Block]) -> None:
    expected = sum(block.length for block in blocks)
    if values.shape != (expected,):
        raise HashfedError(f"values {values.shape}: must be {(expected,)}, as long as all blocks")


def _parts(blocks: Sequence[Block]) -> list[tuple[int, int, float]]:
    """Start, end and range of each stretch that is rounded at a time."""
    parts, at = [], 0
    for block in blocks:
        end = at + block.length
        parts += [(start, min(start + PART, end), block.range) for start in range(at, end, PART)]
        at = end
    return parts
