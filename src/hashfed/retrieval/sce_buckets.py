"""SCE's buckets: the rows with the largest inner products with random mixtures of a client's queries.

Mezentsev et al. 2024, "Scalable Cross-Entropy Loss for Sequential Recommendations with Large Item Catalogs"
(RecSys 2024). A bucket is a mixture B = ΩX of the queries X, with Ω of standard normal numbers (the paper's
"mix"), and holds the ``bucket_rows`` rows with the largest products with it (maximum inner product search).
There a batch's queries are put in buckets too and train on their bucket alone; here a client trains all its
queries on the union. SCE leaves logits as they are and draws nothing at random: ``sampling: top``,
``tail: 0``, ``correction: none``.
"""

from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np
import torch
from pydantic import Field

from hashfed.errors import HashfedError
from hashfed.randomness import stream
from hashfed.retrieval.encoder_shape import EncoderShape
from hashfed.retrieval.evidence import CHUNK
from hashfed.retrieval.method import IndexedSettings
from hashfed.retrieval.protocol import Candidates, Encoder, Index, Keys

METHOD = "sce-buckets"


@dataclass(frozen=True)
class SceBucketsEncoder(Encoder):
    """Mixes the queries.

    Attributes:
        dimension: d.
        buckets: mixtures.
        seed: of Ω. It is the same for clients with as many queries, and the server knows it: from as many
            mixtures as there are queries these can be computed.

    """

    dimension: int
    buckets: int
    seed: int
    kind: ClassVar[str] = METHOD

    def numbers(self) -> dict[str, int]:
        """All."""
        return {"dimension": self.dimension, "buckets": self.buckets, "seed": self.seed}

    def encode(self, queries: torch.Tensor) -> Keys:
        """Queries (count, d) to ``mixtures`` (buckets, d) float16 of length 1; none of no queries."""
        count = len(queries)
        buckets = self.buckets if count else 0
        omega = stream(self.seed, METHOD).standard_normal((buckets, count), np.float32)
        mixtures = torch.from_numpy(omega) @ queries
        # Their order is that of inner products with one mixture: its length counts for nothing.
        unit = mixtures / mixtures.norm(dim=1, keepdim=True).clamp(min=1e-30)
        return {"mixtures": unit.numpy().astype(np.float16)}

    def flops(self, count: int) -> int:
        """The product with Ω."""
        return 2 * self.buckets * count * self.dimension

    def most_keys(self, count: int) -> int:
        """One for each bucket."""
        return self.buckets if count else 0

    def check(self, keys: Keys) -> torch.Tensor:
        """The mixtures (b, d) of ``keys``, float32, or a HashfedError that says what is wrong with them."""
        if set(keys) != {"mixtures"}:
            raise HashfedError(f"keys {sorted(keys)}: this index needs mixtures")
        found = keys["mixtures"]
        shape = found.shape
        if found.dtype != np.float16 or shape not in ((0, self.dimension), (self.buckets, self.dimension)):
            raise HashfedError(
                f"mixtures of type {found.dtype} and shape {shape}: must be float16, "
                f"({self.buckets}, {self.dimension})"
            )
        if not np.isfinite(found).all():
            raise HashfedError("mixtures: must be finite; the training diverged?")
        return torch.from_numpy(found.astype(np.float32))


@dataclass(frozen=True)
class SceBucketsIndex(Index):
    """Scores = 1 / a row's best place in a bucket, from 1: every bucket gives as many rows to a budget.

    Attributes:
        rows: (n, d) float32, kept by reference.
        encoder: what clients receive.
        bucket_rows: of each bucket.

    """

    rows: torch.Tensor
    encoder: SceBucketsEncoder
    bucket_rows: int

    def lookup(self, keys: Keys) -> Candidates:
        """The union of the buckets."""
        mixtures = self.encoder.check(keys)
        size, most = len(self.rows), min(self.bucket_rows, len(self.rows))
        scores = torch.zeros(size, dtype=torch.float64)
        places = 1 / torch.arange(1, most + 1, dtype=torch.float64)
        for some in mixtures.split(CHUNK):
            found = torch.topk(some @ self.rows.T, most).indices
            scores.scatter_reduce_(0, found.reshape(-1), places.repeat(len(some)), "amax")
        return Candidates.positive(scores.numpy())

    def scored(self, keys: Keys) -> int:
        """The mixtures."""
        return len(self.encoder.check(keys))


class SceBucketsSettings(IndexedSettings):
    """The rows nearest to random mixtures of the queries (SCE)."""

    method: Literal["sce-buckets"] = "sce-buckets"
    buckets: int = Field(32, ge=1, le=4096)
    """Mixtures that a client sends."""
    bucket_rows: int = Field(256, ge=1)
    """Rows of a bucket: those with the largest inner products with its mixture."""

    encoder: ClassVar[type[Encoder]] = SceBucketsEncoder

    def build(self, rows: torch.Tensor, prior: np.ndarray, seed: int) -> SceBucketsIndex:
        """Keeps ``rows`` (n, d) by reference."""
        return SceBucketsIndex(rows, SceBucketsEncoder(rows.shape[1], self.buckets, seed), self.bucket_rows)

    def encoder_shape(self, dimension: int, seed: int) -> EncoderShape:
        """A few numbers."""
        return EncoderShape(
            self.encoder.kind, {"dimension": dimension, "buckets": self.buckets, "seed": seed}
        )
