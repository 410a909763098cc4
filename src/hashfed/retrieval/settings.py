"""What can be chosen about retrieval and selection."""

from typing import Literal

from pydantic import Field, model_validator

from hashfed.hashing.simhash import MAX_BITS, MAX_PROJECTIONS
from hashfed.settings import Settings

Method = Literal[
    "full",
    "random",
    "frequency",
    "exact",
    "query-centroids",
    "query-codes",
    "simhash-union",
    "simhash-collisions",
]


class RetrievalSettings(Settings):
    """How the server finds rows for a client's keys."""

    method: Method = "simhash-collisions"
    """Which rows are sent: all; uniform; most frequent; most softmax mass on the client's queries (sends
    the queries); the same, estimated from quantized centroids of the queries, or from quantized queries; the
    paper's union of SimHash buckets; ranked by SimHash collisions."""
    bits: int = Field(8, ge=1, le=MAX_BITS)
    """K, hash bits per table (SimHash)."""
    tables: int = Field(64, ge=1, le=MAX_PROJECTIONS)
    """L, number of hash tables (SimHash)."""
    refresh: int = Field(1, ge=1)
    """Rebuild the index after so many rounds; in between it ranks by rows that have moved on."""
    counts: Literal["public", "declared"] = "public"
    """The prior: public counts of the labels, or how often clients declared a row in earlier rounds."""
    center: bool = True
    """Hash the rows minus their mean (SimHash)."""
    prior: float = Field(1.0, ge=0, le=4)
    """Exponent of the public label counts that multiply the collisions (simhash-collisions)."""
    centroids: int = Field(32, ge=1, le=4096)
    """Groups into which a client clusters its queries (query-centroids)."""
    code_bits: Literal[1, 2, 4, 8] = 4
    """Bits per coordinate of a quantized query or centroid (query-centroids, query-codes)."""
    prior_strength: float = Field(16.0, ge=0)
    """How many queries' worth of evidence the public label counts are (query-centroids, query-codes)."""
    inverse_temperature: float = Field(1.0, gt=0, le=10)
    """Factor on the logits of decoded queries; below 1 where the quantization is coarse."""

    @model_validator(mode="after")
    def _check_projections(self) -> "RetrievalSettings":
        if self.bits * self.tables > MAX_PROJECTIONS:
            raise ValueError(
                f"bits × tables = {self.bits * self.tables}: K·L must be at most {MAX_PROJECTIONS}"
            )
        return self


class SelectionSettings(Settings):
    """How candidates are cut or padded to the budget."""

    budget: float = Field(0.1, gt=0, le=1)
    """Rows a client holds, as a fraction of all rows (method full: always all)."""
    max_rows: int | None = Field(None, ge=1)
    """At most so many rows, whatever the fraction."""
    max_bytes: int | None = Field(None, ge=1)
    """At most as many rows as fit in so many bytes of float32; a client that trains holds each three times
    (row, gradient, change)."""
    sampling: Literal["top", "proportional"] = "top"
    """top: the best candidates, and a uniform tail; proportional: rows drawn with chances in proportion to
    their scores."""
    tail: float = Field(0.5, ge=0, le=1)
    """Share of the budget filled with uniformly drawn rows (top); share of the uniform distribution in the
    chances (proportional)."""
    correction: Literal["tail", "none"] = "tail"
    """tail: raise the logits of drawn rows by −log of their chance, so that the partition function is
    unbiased; none: the paper's estimator."""
    oversample: float = Field(1.0, ge=1, le=10)
    """Send this many times the budget; the client keeps the rows with the largest activations. What it drops
    is missing from the partition function, also a corrected one."""
