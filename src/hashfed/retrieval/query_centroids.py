"""A sketch of a client's queries: the quantized centroids of a k-means, and how many queries each holds.

Cells of *rows* lose what tells rows of a cell apart. Centroids of the client's own *queries* lose only
what tells similar queries apart, and the server scores every row exactly against them:

    m_i ≈ (1/N) Σ_c N_c softmax(W q̂_c)_i

32 centroids of 8 bits per coordinate are 3.3 KB at d = 96. The encoder is a seed; the server keeps no
table and has nothing to rebuild. It learns averages of queries, not queries; a centroid of one query is
that query, so clients with few queries tell more.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal, Self

import numpy as np
import torch
from pydantic import Field

from hashfed.errors import HashfedError
from hashfed.hashing.codes import RotatedCodes
from hashfed.hashing.kmeans import ITERATIONS, kmeans
from hashfed.hashing.stacked_kmeans import alike, kmeans_many
from hashfed.retrieval.decoded import (
    DecodableEncoder,
    DecodedIndex,
    DecodedSettings,
    check_codes,
    decode_together,
)
from hashfed.retrieval.encoder_shape import EncoderShape
from hashfed.retrieval.protocol import Encoder, Keys
from hashfed.retrieval.settings import CodeBits


@dataclass(frozen=True)
class QueryCentroidsEncoder(DecodableEncoder):
    """Clusters the queries on the device and quantizes the centroids."""

    codes: RotatedCodes
    centroids: int
    kind: ClassVar[str] = "query-centroids"

    @classmethod
    def from_numbers(cls, dimension: int, bits: int, centroids: int, seed: int) -> Self:
        """The encoder a client builds from what it received."""
        return cls(RotatedCodes(dimension, bits, seed), centroids)

    def numbers(self) -> dict[str, int]:
        """d, bits, the number of centroids, and the seed of rotation and k-means."""
        codes = self.codes
        return {
            "dimension": codes.dimension,
            "bits": codes.bits,
            "centroids": self.centroids,
            "seed": codes.seed,
        }

    def encode(self, queries: torch.Tensor) -> Keys:
        """Queries (count, d) to ``codes`` (c, width) uint8, ``scales`` (c,) float32, ``counts`` (c,)."""
        centroids, sizes = kmeans(queries, self.centroids, self.codes.seed)
        codes, scales = self.codes.encode(centroids)
        return {"codes": codes, "scales": scales, "counts": sizes.astype(np.int32)}

    def encode_many(self, clients: Sequence[torch.Tensor]) -> list[Keys]:
        """See ``Encoder``: those with about as many queries are clustered at once, where the queries are."""
        found: dict[int, Keys] = {}
        order = sorted(range(len(clients)), key=lambda client: len(clients[client]), reverse=True)
        for group in alike([len(clients[client]) for client in order]):
            some = order[group]
            centroids, sizes = kmeans_many(
                [clients[client] for client in some], self.centroids, self.codes.seed
            )
            codes, scales = self.codes.encode(centroids)
            ends = np.cumsum([len(of) for of in sizes])[:-1]
            parts = np.split(codes, ends), np.split(scales, ends), sizes
            for client, code, scale, counts in zip(some, *parts, strict=True):
                found[client] = {"codes": code, "scales": scale, "counts": counts.astype(np.int32)}
        return [found[client] for client in range(len(clients))]

    def decode(self, keys: Keys, scale: float = 1.0) -> tuple[torch.Tensor, np.ndarray]:
        """The centroids, and how many queries each holds."""
        found, scales, counts = self._checked(keys)
        return self.codes.decode(found, scales * np.float32(scale)), counts

    def decode_many(
        self, clients: Sequence[Keys], scale: float = 1.0
    ) -> list[tuple[torch.Tensor, np.ndarray]]:
        """See ``DecodableEncoder``: all codes at once."""
        found = [self._checked(keys) for keys in clients]
        vectors = decode_together(self.codes, [(codes, scales) for codes, scales, _ in found], scale)
        return [(of, counts) for of, (_, _, counts) in zip(vectors, found, strict=True)]

    def _checked(self, keys: Keys) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        found, scales = check_codes(self.codes.width, keys, {"codes", "scales", "counts"})
        counts = keys["counts"]
        if counts.dtype.kind not in "iu" or counts.shape != scales.shape or (counts < 1).any():
            raise HashfedError(
                f"counts of type {counts.dtype} and shape {counts.shape}: must be integers of at least 1, "
                f"({len(scales)},)"
            )
        return found, scales, counts

    def flops(self, count: int) -> int:
        """K-means, and the rotation of the centroids."""
        used = min(self.centroids, count)
        dimension = self.codes.dimension
        return 2 * (ITERATIONS + 1) * count * used * dimension + 2 * used * dimension**2

    def most_keys(self, count: int) -> int:
        """One for each centroid."""
        return min(self.centroids, count)


class QueryCentroidsSettings(DecodedSettings):
    """The same mass, estimated from quantized centroids of the queries."""

    method: Literal["query-centroids"] = "query-centroids"
    centroids: int = Field(32, ge=1, le=4096)
    """Groups into which a client clusters its queries."""
    code_bits: CodeBits = 8
    """Bits per coordinate of a quantized centroid."""

    encoder: ClassVar[type[Encoder]] = QueryCentroidsEncoder

    def build(self, rows: torch.Tensor, prior: np.ndarray, seed: int) -> DecodedIndex:
        """There is nothing to hash."""
        encoder = QueryCentroidsEncoder(RotatedCodes(rows.shape[1], self.code_bits, seed), self.centroids)
        table = rows.to(self.pass_type)
        return DecodedIndex(rows, encoder, prior, self.prior_strength, self.inverse_temperature, table)

    def encoder_shape(self, dimension: int, seed: int) -> EncoderShape:
        """A few numbers."""
        numbers = {
            "dimension": dimension,
            "bits": self.code_bits,
            "centroids": self.centroids,
            "seed": seed,
        }
        return EncoderShape(self.encoder.kind, numbers)
