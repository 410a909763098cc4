"""What ``simhash_union`` and ``simhash_collisions`` share: hash tables over the rows, and their settings."""

from dataclasses import dataclass, replace
from typing import ClassVar, Self

import numpy as np
import torch
from pydantic import Field, model_validator

from hashfed.errors import HashfedError
from hashfed.hashing import HashTables, SimHash, Transform, fit_transform
from hashfed.hashing.probes import MAX_PROBES
from hashfed.hashing.projections import ProjectionKind, principal_projections
from hashfed.hashing.simhash import MAX_BITS, MAX_PROJECTIONS, check_size, code_type
from hashfed.hashing.transforms import APPENDED, RANGED, NormScaled, TransformKind, sample_rows
from hashfed.retrieval.checks import Expected, check_ids, check_rows
from hashfed.retrieval.encoder_shape import EncoderShape
from hashfed.retrieval.method import BucketShape, IndexedSettings, Published
from hashfed.retrieval.protocol import Buckets, Encoder, Index
from hashfed.retrieval.range_scale import RangeScale
from hashfed.retrieval.settings import Delivery
from hashfed.retrieval.simhash_encoder import PROJECTIONS, TRANSFORMS, SimHashEncoder


@dataclass(frozen=True)
class SimHashIndex(Index):
    """Rows by bucket, and what is needed to hash some of them again.

    Attributes:
        encoder: the client's side, with the hash functions.
        transform: of the rows, as fitted when the index was built.
        ranges: (n,) uint8 norm range of each row; None where there is one range.
        tables: the rows' bucket numbers, and who is in which bucket.

    """

    encoder: SimHashEncoder
    transform: Transform
    ranges: np.ndarray | None
    tables: HashTables

    @property
    def codes(self) -> np.ndarray:
        """Bucket numbers of the rows, (n, L) uint8, or uint16 where K > 8."""
        return self.tables.codes.T

    @property
    def exact_refresh(self) -> bool:
        """Whether ``refresh`` gives bit for bit what ``build`` would: nothing is fitted to the rows."""
        return self.transform.kind == "none" and self.encoder.simhash.kind != "pca"

    @property
    def scale(self) -> RangeScale | None:
        """What makes collisions comparable between norm ranges; None where there is one range."""
        if self.ranges is None or not isinstance(self.transform, NormScaled):
            return None
        return RangeScale(self.ranges, self.transform.limits)

    @property
    def buckets(self) -> Buckets:
        """The tables, and what makes norm ranges comparable."""
        return Buckets(self.tables, self.scale)

    def refresh(self, rows: torch.Tensor, ids: np.ndarray, prior: np.ndarray | None = None) -> Self:
        """The index with the rows ``ids`` hashed again, bit for bit as ``hash_rows`` does it over ``rows``.

        It costs the hashing of these rows and a copy of the codes, one or two bytes for each row and table.

        Args:
            rows: all rows (n, d) float32; those not in ``ids`` must be unchanged.
            ids: (k,) integers, ascending, distinct: the rows that changed.
            prior: not used.

        Raises:
            HashfedError: where ``rows`` or ``ids`` do not fit.

        """
        size, dimension = self.tables.size, self.encoder.dimension
        check_ids(ids, size)
        if rows.shape != (size, dimension):
            raise HashfedError(f"rows of shape {tuple(rows.shape)}: this index has ({size}, {dimension})")
        if len(ids) == 0:
            return self
        ids = ids.astype(np.int64)
        part = torch.index_select(rows, 0, torch.from_numpy(ids))
        check_rows(part, ids)
        ranges = None if self.ranges is None else self.ranges.copy()
        found = row_ranges(part, self.transform)
        if ranges is not None and found is not None:
            ranges[ids] = found
        tables = self.tables.moved(ids, _codes(part, self.transform, self.encoder.simhash))
        return replace(self, ranges=ranges, tables=tables)


class SimHashSettings(IndexedSettings):
    """Of both."""

    bits: int = Field(8, ge=1, le=MAX_BITS)
    """K, hash bits per table."""
    tables: int = Field(64, ge=1, le=MAX_PROJECTIONS)
    """L, number of hash tables."""
    transform: TransformKind = "center"
    """What is done to rows and queries so that small angles mean large inner products."""
    norm_ranges: int = Field(1, ge=1, le=64)
    """Parts of the rows by norm, each scaled on its own (simple-lsh, sign-alsh)."""
    probes: int = Field(0, ge=0, le=MAX_PROBES)
    """Buckets just missed that are also looked up, per query and table."""
    projections: ProjectionKind = "random"
    """Directions of the hash bits: drawn; drawn orthogonal; or learned, which sends them."""

    deliveries: ClassVar[tuple[Delivery, ...]] = ("on-demand", "broadcast", "pre-generated")
    encoder: ClassVar[type[Encoder]] = SimHashEncoder

    @model_validator(mode="after")
    def _check_projections(self) -> Self:
        if self.bits * self.tables > MAX_PROJECTIONS:
            raise ValueError(
                f"bits × tables = {self.bits * self.tables}: K·L must be at most {MAX_PROJECTIONS}"
            )
        return self

    @model_validator(mode="after")
    def _check_ranges(self) -> Self:
        if self.norm_ranges > 1 and self.transform not in RANGED:
            raise ValueError(
                f"norm_ranges = {self.norm_ranges}: needs transform {' or '.join(RANGED)}, "
                f"not {self.transform}"
            )
        return self

    @property
    def bucket_shape(self) -> BucketShape:
        """As the settings say."""
        return BucketShape(self.bits, self.tables, self.norm_ranges)

    def smallest(self) -> Self:
        """Two buckets."""
        return self.model_copy(update={"bits": 1, "tables": 1})

    def hash(
        self, rows: torch.Tensor, seed: int
    ) -> tuple[SimHashEncoder, Transform, np.ndarray | None, HashTables]:
        """Fit transform and projections to ``rows`` (n, d) float32 and hash them: the fields of an index."""
        check_size(self.bits, self.tables)
        transform = fit_transform(self.transform, rows, self.norm_ranges)
        learned = None
        if self.projections == "pca":
            sample = transform.rows(sample_rows(rows))
            learned = principal_projections(sample, self.bits * self.tables, self.bits, seed)
        dimension = transform.dimension(rows.shape[1])
        simhash = SimHash(self.bits, self.tables, dimension, seed, self.projections, learned)
        encoder = SimHashEncoder(simhash, transform.client, self.probes)
        return encoder, transform, row_ranges(rows, transform), hash_rows(rows, transform, simhash)

    def encoder_shape(self, dimension: int, seed: int) -> EncoderShape:
        """A few numbers, and what no seed can say."""
        numbers = {
            "bits": self.bits,
            "tables": self.tables,
            "dimension": dimension,
            "seed": seed,
            "transform": TRANSFORMS.index(self.transform),
            "projection_kind": PROJECTIONS.index(self.projections),
            "probes": self.probes,
        }
        arrays: dict[str, Expected] = {}
        if self.transform == "whiten":
            arrays["matrix"] = (np.float32,), (dimension, dimension)
        if self.projections == "pca":
            width = dimension + APPENDED[self.transform]
            arrays["projections"] = (np.float32,), (self.bits * self.tables, width)
        return EncoderShape(self.encoder.kind, numbers, arrays)


def slice_encoder(published: Published) -> SimHashEncoder:
    """The encoder of whoever looks up in slices.

    Raises:
        HashfedError: where it is of another method.

    """
    if not isinstance(published.encoder, SimHashEncoder):
        raise HashfedError(f"encoder = {published.encoder.kind}: must be {SimHashEncoder.kind}")
    return published.encoder


def hash_rows(rows: torch.Tensor, transform: Transform, simhash: SimHash) -> HashTables:
    """Tables over ``rows`` (n, d) with a transform and hash functions that exist already."""
    return HashTables(_codes(rows, transform, simhash), simhash.bits)


def _codes(rows: torch.Tensor, transform: Transform, simhash: SimHash) -> np.ndarray:
    """Bucket numbers (L, n) of the rows; transformed in chunks, so that no second copy of all is made."""
    codes = np.empty((simhash.tables, len(rows)), code_type(simhash.bits))
    simhash.write((transform.rows(part) for part in rows.split(simhash.chunk)), codes)
    return codes


def row_ranges(rows: torch.Tensor, transform: Transform) -> np.ndarray | None:
    """Norm ranges (n,) of the rows, or None where there is one."""
    several = isinstance(transform, NormScaled) and len(transform.limits) > 1
    return transform.ranges(rows) if several and isinstance(transform, NormScaled) else None
