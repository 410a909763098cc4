"""Queries to bucket keys with SimHash: the client's side of both SimHash methods."""

from dataclasses import dataclass
from typing import ClassVar, Self, get_args

import numpy as np
import torch

from hashfed.errors import HashfedError
from hashfed.hashing import QueryTransform, SimHash
from hashfed.hashing.probes import MAX_PROBES
from hashfed.hashing.projections import ProjectionKind
from hashfed.hashing.tables import bucket_keys
from hashfed.hashing.transforms import APPENDED, TransformKind
from hashfed.retrieval.protocol import Encoder, Keys

TRANSFORMS: tuple[TransformKind, ...] = get_args(TransformKind)
"""A transform travels as its place in this list."""
PROJECTIONS: tuple[ProjectionKind, ...] = get_args(ProjectionKind)
"""A kind of projections travels as its place in this list."""


@dataclass(frozen=True)
class SimHashEncoder(Encoder):
    """Turns queries into the distinct buckets they fall into and how often each was hit.

    A client sends no order and no position: only which buckets, and counts (paper, section 3.2,
    step 3).

    Attributes:
        simhash: the hash functions.
        transform: what happens to queries before hashing.
        probes: further buckets for each query and table, the ones it just missed.

    """

    simhash: SimHash
    transform: QueryTransform
    probes: int
    kind: ClassVar[str] = "simhash"

    @classmethod
    def from_numbers(
        cls,
        bits: int,
        tables: int,
        dimension: int,
        seed: int,
        transform: int,
        projection_kind: int,
        probes: int,
        matrix: np.ndarray | None = None,
        projections: np.ndarray | None = None,
    ) -> Self:
        """The encoder a client builds from what it received.

        Raises:
            HashfedError: where a parameter is out of range.

        """
        _check_range("transform", transform, len(TRANSFORMS) - 1)
        _check_range("projection_kind", projection_kind, len(PROJECTIONS) - 1)
        _check_range("probes", probes, MAX_PROBES)
        kind = TRANSFORMS[transform]
        if (matrix is not None) != (kind == "whiten"):
            raise HashfedError(f"transform {kind}: a matrix is needed for whiten, and only for it")
        if matrix is not None and (matrix.shape != (dimension, dimension) or matrix.dtype != np.float32):
            raise HashfedError(
                f"matrix of type {matrix.dtype} and shape {matrix.shape}: must be float32, "
                f"({dimension}, {dimension})"
            )
        simhash = SimHash(
            bits, tables, dimension + APPENDED[kind], seed, PROJECTIONS[projection_kind], _tensor(projections)
        )
        return cls(simhash, QueryTransform(kind, _tensor(matrix)), probes)

    @property
    def dimension(self) -> int:
        """Length of queries and rows, before the transform."""
        return self.simhash.dimension - APPENDED[self.transform.kind]

    @property
    def buckets_per_table(self) -> int:
        """Buckets that a query names in each table: its own and the probes."""
        return 1 + min(self.probes, (1 << self.simhash.bits) - 1)

    def numbers(self) -> dict[str, int]:
        """K, L, d, the seed of the projections, and the choices by their number."""
        hash = self.simhash
        return {
            "bits": hash.bits,
            "tables": hash.tables,
            "dimension": self.dimension,
            "seed": hash.seed,
            "transform": TRANSFORMS.index(self.transform.kind),
            "projection_kind": PROJECTIONS.index(hash.kind),
            "probes": self.probes,
        }

    def arrays(self) -> dict[str, np.ndarray]:
        """What a seed cannot say: ``matrix`` (d, d) of whitening, learned ``projections`` (K·L, d)."""
        arrays: dict[str, np.ndarray] = {}
        if self.transform.matrix is not None:
            arrays["matrix"] = self.transform.matrix.numpy()
        if self.simhash.kind == "pca":
            arrays["projections"] = self.simhash.projections.numpy()
        return arrays

    def flops(self, count: int) -> int:
        """K·L products of length d for each query, and the matrix if there is one."""
        matrix = self.transform.matrix
        return 2 * count * (self.simhash.projections.numel() + (0 if matrix is None else matrix.numel()))

    def most_keys(self, count: int) -> int:
        """Each query's buckets in all tables, or all buckets."""
        return self.simhash.tables * min(count * self.buckets_per_table, 1 << self.simhash.bits)

    def encode(self, queries: torch.Tensor) -> Keys:
        """Queries (count, d) to ``buckets`` (k,) int32 distinct ascending keys and ``counts`` (k,) int32."""
        codes = self.simhash.probe(self.transform(queries), self.probes)
        # One line for each query and probe: bucket_keys numbers the tables along the last axis.
        lines = codes.transpose(0, 2, 1).reshape(-1, self.simhash.tables)
        keys = bucket_keys(lines, 1 << self.simhash.bits).ravel()
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
        if (buckets[1:] <= buckets[:-1]).any() or (counts < 1).any():
            raise HashfedError("keys: buckets must ascend without repetition, with counts of at least 1")
        if len(buckets) and (buckets.min() < 0 or buckets.max() >= total):
            raise HashfedError(
                f"keys from {buckets.min()} to {buckets.max()}: this index has buckets 0 to {total - 1}"
            )
        return buckets, counts


def _check_range(name: str, value: int, most: int) -> None:
    if not 0 <= value <= most:
        raise HashfedError(f"encoder {name} = {value}: must be from 0 to {most}")


def _tensor(array: np.ndarray | None) -> torch.Tensor | None:
    return None if array is None else torch.from_numpy(array)
