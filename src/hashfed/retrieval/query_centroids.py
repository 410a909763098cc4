"""A sketch of a client's queries: the quantized centroids of a k-means, and how many queries each holds.

Cells of *rows* lose what tells rows of a cell apart. Centroids of the client's own *queries* lose only
what tells similar queries apart, and the server scores every row exactly against them:

    m_i ≈ (1/N) Σ_c N_c softmax(W q̂_c)_i

32 centroids of 8 bits per coordinate are 3.3 KB at d = 96. The encoder is a seed; the server keeps no
table and has nothing to rebuild. It learns averages of queries, not queries; a centroid of one query is
that query, so clients with few queries tell more.
"""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch

from hashfed.errors import HashfedError
from hashfed.hashing.codes import RotatedCodes
from hashfed.hashing.kmeans import ITERATIONS, kmeans
from hashfed.retrieval.evidence import mass_candidates, pass_table
from hashfed.retrieval.protocol import Candidates, Keys
from hashfed.retrieval.query_codes import check_codes
from hashfed.retrieval.settings import RetrievalSettings


@dataclass(frozen=True)
class QueryCentroidsEncoder:
    """Clusters the queries on the device and quantizes the centroids."""

    codes: RotatedCodes
    centroids: int
    kind: ClassVar[str] = "query-centroids"

    @classmethod
    def from_numbers(cls, dimension: int, bits: int, centroids: int, seed: int) -> "QueryCentroidsEncoder":
        """The encoder a client builds from what it received."""
        return cls(RotatedCodes(dimension, bits, seed), centroids)

    def numbers(self) -> dict[str, int]:
        """d, bits, the number of centroids and the seed of rotation and k-means."""
        codes = self.codes
        return {
            "dimension": codes.dimension,
            "bits": codes.bits,
            "centroids": self.centroids,
            "seed": codes.seed,
        }

    def arrays(self) -> dict[str, np.ndarray]:
        """None: everything is drawn from the seed."""
        return {}

    def encode(self, queries: torch.Tensor) -> Keys:
        """Queries (count, d) to ``codes`` (c, width) uint8, ``scales`` (c,) float32, ``counts`` (c,)."""
        centroids, sizes = kmeans(queries, self.centroids, self.codes.seed)
        codes, scales = self.codes.encode(centroids)
        return {"codes": codes, "scales": scales, "counts": sizes.astype(np.int32)}

    def flops(self, count: int) -> int:
        """K-means, and the rotation of the centroids."""
        used = min(self.centroids, count)
        dimension = self.codes.dimension
        return 2 * (ITERATIONS + 1) * count * used * dimension + 2 * used * dimension**2

    def most_keys(self, count: int) -> int:
        """One for each centroid."""
        return min(self.centroids, count)


@dataclass(frozen=True)
class QueryCentroidsIndex:
    """Scores = softmax mass of the decoded centroids, weighted by their counts, plus the prior."""

    rows: torch.Tensor
    encoder: QueryCentroidsEncoder
    prior: np.ndarray
    strength: float
    temperature: float
    table: torch.Tensor

    @classmethod
    def build(
        cls, rows: torch.Tensor, settings: RetrievalSettings, prior: np.ndarray, seed: int
    ) -> "QueryCentroidsIndex":
        """Keeps ``rows`` (n, d) by reference: there is nothing to hash."""
        codes = RotatedCodes(rows.shape[1], settings.code_bits, seed)
        encoder = QueryCentroidsEncoder(codes, settings.centroids)
        table = pass_table(rows, settings)
        return cls(rows, encoder, prior, settings.prior_strength, settings.inverse_temperature, table)

    def lookup(self, keys: Keys) -> Candidates:
        """Every row, with its estimated mass."""
        centroids, counts = read_centroids(self.encoder.codes, keys, self.temperature)
        return mass_candidates(self.rows, centroids, self.prior, self.strength, counts, self.table)

    def queries(self, keys: Keys) -> tuple[torch.Tensor, np.ndarray]:
        """The decoded centroids, and how many queries each holds."""
        return read_centroids(self.encoder.codes, keys)


def read_centroids(codes: RotatedCodes, keys: Keys, scale: float = 1.0) -> tuple[torch.Tensor, np.ndarray]:
    """Centroids (c, d), times ``scale``, and counts (c,) of the keys of a ``QueryCentroidsEncoder``.

    Raises:
        HashfedError: where the keys are none.

    """
    found, scales = check_codes(codes.width, keys, {"codes", "scales", "counts"})
    counts = keys["counts"]
    if counts.dtype.kind not in "iu" or counts.shape != scales.shape or (counts < 1).any():
        raise HashfedError(
            f"counts of type {counts.dtype} and shape {counts.shape}: must be integers of at least 1, "
            f"({len(scales)},)"
        )
    return codes.decode(found, scales * np.float32(scale)), counts
