"""Queries to bucket keys with SimHash: the client's side of both SimHash methods."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch

from hashfed.errors import HashfedError
from hashfed.hashing import SimHash
from hashfed.hashing.tables import bucket_keys
from hashfed.retrieval.protocol import Keys


@dataclass(frozen=True)
class SimHashEncoder:
    """Turns queries into the distinct buckets they fall into and how often each was hit.

    A client sends no order and no position: only which buckets, and counts (paper, section 3.2,
    step 3).
    """

    simhash: SimHash
    kind: ClassVar[str] = "simhash"

    @classmethod
    def from_numbers(cls, bits: int, tables: int, dimension: int, seed: int) -> "SimHashEncoder":
        """The encoder a client builds from what it received."""
        return cls(SimHash(bits, tables, dimension, seed))

    def numbers(self) -> dict[str, int]:
        """K, L, d and the seed of the projections."""
        hash = self.simhash
        return {
            "bits": hash.bits,
            "tables": hash.tables,
            "dimension": hash.dimension,
            "seed": hash.seed,
        }

    def arrays(self) -> dict[str, np.ndarray]:
        """None: the projections are drawn from the seed."""
        return {}

    def flops(self, count: int) -> int:
        """K·L products of length d for each query."""
        return 2 * count * self.simhash.projections.numel()

    def encode(self, queries: torch.Tensor) -> Keys:
        """Queries (count, d) to ``buckets`` (k,) int32 distinct ascending keys and ``counts`` (k,) int32."""
        codes = self.simhash.hash(queries)
        keys = bucket_keys(codes, 1 << self.simhash.bits).ravel()
        buckets, counts = np.unique(keys, return_counts=True)
        return {"buckets": buckets, "counts": counts.astype(np.int32)}

    def check(self, keys: Keys) -> tuple[np.ndarray, np.ndarray]:
        """The two arrays of ``keys``, or a HashfedError that says what is wrong with them."""
        total = self.simhash.tables << self.simhash.bits
        if set(keys) != {"buckets", "counts"}:
            raise HashfedError(f"keys {sorted(keys)}: a SimHash index needs 'buckets' and 'counts'")
        buckets, counts = keys["buckets"], keys["counts"]
        if buckets.shape != counts.shape or buckets.ndim != 1:
            raise HashfedError(
                f"keys of shape {buckets.shape} with counts of shape {counts.shape}: need two equal lists"
            )
        if buckets.dtype.kind not in "iu" or counts.dtype.kind not in "iu":
            raise HashfedError(f"keys of types {buckets.dtype} and {counts.dtype}: need integers")
        if (np.diff(buckets) <= 0).any() or (counts < 1).any():
            raise HashfedError("keys: buckets must ascend without repetition, with counts of at least 1")
        if len(buckets) and (buckets.min() < 0 or buckets.max() >= total):
            raise HashfedError(
                f"keys from {buckets.min()} to {buckets.max()}: this index has buckets 0 to {total - 1}"
            )
        return buckets, counts
