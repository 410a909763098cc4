"""SimHash: the signs of random projections (paper, definition 1; Charikar 2002)."""

from dataclasses import dataclass, field

import numpy as np
import torch

from hashfed.errors import HashfedError
from hashfed.randomness import stream

MAX_BITS = 16
"""Largest K: a table has 2^K buckets, and the offsets of all tables must stay small."""
CHUNK = 16384
"""Vectors hashed at a time: bounds the memory for projections at CHUNK·K·L floats."""
MAX_PROJECTIONS = 8192
"""Largest K·L: the projections are K·L·d floats on the client."""


@dataclass(frozen=True)
class SimHash:
    """L independent SimHash functions of K bits each.

    The projections are drawn from the seed, so a client needs four numbers, not K·L·d floats.

    Attributes:
        bits: K, hash bits per table, 1 to 16.
        tables: L, number of tables, with K·L ≤ 8192.
        dimension: d, length of the vectors.
        seed: of the projections, ≥ 0.

    Raises:
        HashfedError: where K, L or K·L is out of range.

    """

    bits: int
    tables: int
    dimension: int
    seed: int
    projections: torch.Tensor = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        check_size(self.bits, self.tables)
        normal = stream(self.seed, "simhash").standard_normal(
            (self.tables * self.bits, self.dimension), dtype=np.float32
        )
        object.__setattr__(self, "projections", torch.from_numpy(normal))

    def hash(self, vectors: torch.Tensor) -> np.ndarray:
        """Bucket numbers of ``vectors`` (count, d), float32: an int32 array (count, L), each in [0, 2^K).

        Bit k of table l is 1 where projection k·L + l is > 0 (definition 1). A zero vector gets bucket
        0 in every table.
        """
        codes = np.empty((len(vectors), self.tables), np.int32)
        for start in range(0, len(vectors), CHUNK):
            products = vectors[start : start + CHUNK] @ self.projections.T
            signs = (products > 0).numpy().reshape(-1, self.bits, self.tables)
            part = codes[start : start + CHUNK]
            part[:] = signs[:, 0]
            for bit in range(1, self.bits):
                part |= signs[:, bit].astype(np.int32) << np.int32(bit)
        return codes


def check_size(bits: int, tables: int) -> None:
    """Raise a HashfedError unless 1 ≤ K ≤ 16, L ≥ 1 and K·L ≤ 8192."""
    if not 1 <= bits <= MAX_BITS:
        raise HashfedError(f"retrieval.bits = {bits}: K must be from 1 to {MAX_BITS}")
    if tables < 1:
        raise HashfedError(f"retrieval.tables = {tables}: L must be at least 1")
    if bits * tables > MAX_PROJECTIONS:
        raise HashfedError(
            f"retrieval.bits × retrieval.tables = {bits * tables}: K·L must be at most {MAX_PROJECTIONS}"
        )


def collision_probability(angle: np.ndarray, bits: int) -> np.ndarray:
    """Chance that two vectors at ``angle`` (radians) share a bucket: (1 − θ/π)^K (definition 1)."""
    return np.asarray((1.0 - np.asarray(angle) / np.pi) ** bits)
