"""What can be chosen about retrieval and selection."""

import re
from typing import Literal

from pydantic import Field, field_validator, model_validator

from hashfed.hashing.probes import MAX_PROBES
from hashfed.hashing.projections import ProjectionKind
from hashfed.hashing.simhash import MAX_BITS, MAX_PROJECTIONS
from hashfed.hashing.transforms import RANGED, TransformKind
from hashfed.settings import Settings

Method = Literal[
    "full",
    "random",
    "frequency",
    "exact",
    "faiss",
    "hnswlib",
    "cells",
    "query-centroids",
    "query-codes",
    "product-codes",
    "simhash-union",
    "simhash-collisions",
]


Delivery = Literal["on-demand", "broadcast", "pre-generated"]
"""How rows reach a client (Charles et al. 2022, Federated Select)."""


class RetrievalSettings(Settings):
    """How the server finds rows for a client's keys."""

    method: Method = "query-centroids"
    """Which rows are sent: all; uniform; most frequent; most softmax mass on the client's queries (sends
    the queries); the same over the nearest rows that FAISS or hnswlib find; the same, estimated from k-means
    cells of the rows, from quantized centroids of the queries, or from quantized queries (two kinds); the
    paper's union of SimHash buckets; ranked by SimHash collisions."""
    bits: int = Field(8, ge=1, le=MAX_BITS)
    """K, hash bits per table (SimHash)."""
    tables: int = Field(64, ge=1, le=MAX_PROJECTIONS)
    """L, number of hash tables (SimHash)."""
    refresh: int = Field(1, ge=1)
    """Rebuild the index after so many rounds; in between it ranks by rows that have moved on."""
    counts: Literal["public", "declared"] = "public"
    """The prior: public counts of the labels, or how often clients declared a row in earlier rounds."""
    transform: TransformKind = "center"
    """What is done to rows and queries so that small angles mean large inner products (SimHash)."""
    norm_ranges: int = Field(1, ge=1, le=64)
    """Parts of the rows by norm, each scaled on its own (SimHash; simple-lsh, sign-alsh)."""
    probes: int = Field(0, ge=0, le=MAX_PROBES)
    """Buckets just missed that are also looked up, per query and table (SimHash)."""
    projections: ProjectionKind = "random"
    """Directions of the hash bits: drawn; drawn orthogonal; or learned, which sends them (SimHash)."""
    prior: float = Field(1.0, ge=0, le=4)
    """Exponent of the public label counts that multiply the collisions (simhash-collisions)."""
    centroids: int = Field(32, ge=1, le=4096)
    """Groups into which a client clusters its queries (query-centroids)."""
    code_bits: Literal[1, 2, 4, 8] = 8
    """Bits per coordinate of a quantized query or centroid (query-centroids, query-codes, points: sketch)."""
    cells: int = Field(256, ge=1, le=16384)
    """K-means cells of the rows (cells)."""
    quantizer: Literal["product", "residual"] = "product"
    """Codewords of parts of a query, or codewords that add up to it (product-codes)."""
    subspaces: int = Field(12, ge=1, le=256)
    """Bytes per query: parts, which must divide the length of a row, or codewords added (product-codes)."""
    neighbors: int = Field(100, ge=1)
    """Nearest rows found for each query (faiss, hnswlib)."""
    faiss_factory: str = "HNSW32"
    """Kind of index, in FAISS's own notation, such as Flat, HNSW32 or IVF256,PQ16 (faiss)."""
    faiss_probes: int = Field(16, ge=1)
    """Lists that a query visits, where the kind has lists (faiss)."""
    hnsw_m: int = Field(16, ge=2, le=256)
    """Links per row of the graph (hnswlib)."""
    hnsw_ef: int = Field(200, ge=1, le=10000)
    """Rows looked at when a link or a neighbor is chosen (hnswlib)."""
    prior_strength: float = Field(16.0, ge=0)
    """How many queries' worth of evidence the public label counts are (faiss, hnswlib, cells, centroids
    and codes)."""
    precision: Literal["float32", "bfloat16"] = "float32"
    """Arithmetic of the server's passes over all rows. bfloat16: what clients do to the tail, and with
    query-centroids and query-codes scores and the planes made of them; some twice as fast on processors with
    instructions for it, slow on others, and a copy of the rows in each process."""
    inverse_temperature: float = Field(1.0, gt=0, le=10)
    """Factor on the logits of decoded queries; below 1 where the quantization is coarse."""

    @model_validator(mode="after")
    def _check_projections(self) -> "RetrievalSettings":
        if self.bits * self.tables > MAX_PROJECTIONS:
            raise ValueError(
                f"bits × tables = {self.bits * self.tables}: K·L must be at most {MAX_PROJECTIONS}"
            )
        return self

    @field_validator("code_bits", mode="before")
    @classmethod
    def _check_code_bits(cls, value: object) -> object:
        # Of choices that are numbers, pydantic also takes what only equals one: true, 1.0.
        if type(value) is not int:
            raise ValueError("input should be 1, 2, 4 or 8")
        return value

    @field_validator("faiss_factory")
    @classmethod
    def _check_factory(cls, value: str) -> str:
        # FAISS ends the process at HNSW0, and only searches fail at IVF0.
        if re.search(r"(?<![0-9])0+(?![0-9])", value):
            raise ValueError("no number in it may be 0")
        return value

    @model_validator(mode="after")
    def _check_ranges(self) -> "RetrievalSettings":
        if self.norm_ranges > 1 and self.transform not in RANGED:
            raise ValueError(
                f"norm_ranges = {self.norm_ranges}: needs transform {' or '.join(RANGED)}, "
                f"not {self.transform}"
            )
        return self


class SelectionSettings(Settings):
    """How candidates are cut or padded to the budget."""

    budget: float = Field(0.1, gt=0, le=1)
    """Rows a client holds, as a fraction of all rows (method full: always all)."""
    extra: float | None = Field(None, ge=0)
    """Rows a client holds beyond those that its data needs, instead of budget: below 1 a fraction of all
    rows, else their number; none: budget decides."""
    max_rows: int | None = Field(None, ge=1)
    """At most so many rows, whatever the fraction (own rows beyond it: client.own_rows)."""
    max_bytes: int | None = Field(None, ge=1)
    """At most as many rows as fit in so many bytes of float32 (own rows beyond it: client.own_rows); a client
    that trains holds each three times: row, gradient, change."""
    sampling: Literal["top", "proportional"] = "proportional"
    """top: the best candidates, and a uniform tail; proportional: rows drawn with chances in proportion to
    their scores."""
    tail: float = Field(0.1, ge=0, le=1)
    """Share of the budget filled with uniformly drawn rows (top); share of the uniform distribution in the
    chances (proportional)."""
    correction: Literal["auto", "control-variate", "tail", "none"] = "auto"
    """tail: raise the logits of drawn rows by −log of their chance, so that the partition function is
    unbiased; control-variate: also send planes of the rows that are not held, which take out most of the
    draw's noise; none: the paper's estimator; auto: control-variate where the server knows points and draw,
    else tail."""
    planes: int = Field(32, ge=0, le=4096)
    """K, points at which a client is told the tail (control-variate); at most as many as its keys tell
    (query-centroids: retrieval.centroids). 0: as tail."""
    points: Literal["keys", "sketch"] = "keys"
    """Of what these points are made (control-variate): keys, where they tell of the queries; sketch: the
    client also sends so many centroids of its queries, in retrieval.code_bits, which tells the server
    averages of its hidden vectors."""
    oversample: float = Field(1.0, ge=1, le=10)
    """Send this many times the budget; the client keeps the rows with the largest activations (top). What it
    drops is missing from the partition function, also a corrected one."""

    delivery: Delivery = "on-demand"
    """How rows reach a client: on-demand, it sends its row ids and keys; broadcast, it receives all rows and
    selects by itself; pre-generated, it fetches slices, one for each row and hash bucket, without a name. The
    numbers are the same, the bytes are others, and the server learns less."""

    @field_validator("extra")
    @classmethod
    def _check_extra(cls, value: float | None) -> float | None:
        if value is not None and value >= 1 and value != int(value):
            raise ValueError("must be a fraction below 1, or a whole number of rows")
        return value

    @model_validator(mode="after")
    def _check_budget(self) -> "SelectionSettings":
        if self.extra is not None and self.budget != type(self).model_fields["budget"].default:
            raise ValueError(
                f"budget = {self.budget:g}: has no effect with extra = {self.extra:g}; "
                "set extra none, or no budget"
            )
        return self

    @model_validator(mode="after")
    def _check_oversample(self) -> "SelectionSettings":
        if self.oversample > 1 and self.sampling == "proportional":
            raise ValueError(
                f"oversample = {self.oversample:g}: needs sampling top; rows drawn with chances cannot be "
                "dropped without new chances"
            )
        return self
