"""The hash tables that both SimHash methods keep over the rows."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import torch

from hashfed.errors import HashfedError
from hashfed.hashing import HashTables, SimHash, Transform, fit_transform
from hashfed.hashing.projections import principal_projections
from hashfed.hashing.simhash import check_size, code_type
from hashfed.hashing.transforms import NormScaled, restore_transform, sample_rows, transform_state
from hashfed.retrieval.checks import check_ids, check_rows
from hashfed.retrieval.settings import RetrievalSettings
from hashfed.retrieval.simhash_encoder import SimHashEncoder
from hashfed.retrieval.simhash_scores import RangeScale


@dataclass(frozen=True)
class SimHashTables:
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

    @classmethod
    def build(cls, rows: torch.Tensor, settings: RetrievalSettings, seed: int) -> "SimHashTables":
        """Fit transform and projections to ``rows`` (n, d) float32 and hash them.

        Raises:
            HashfedError: where ``rows`` are no float32 matrix, are none, or are not finite.

        """
        check_rows(rows)
        check_size(settings.bits, settings.tables)
        transform = fit_transform(settings.transform, rows, settings.norm_ranges)
        learned = None
        if settings.projections == "pca":
            sample = transform.rows(sample_rows(rows))
            count = settings.bits * settings.tables
            learned = principal_projections(sample, count, settings.bits, seed)
        dimension = transform.dimension(rows.shape[1])
        simhash = SimHash(settings.bits, settings.tables, dimension, seed, settings.projections, learned)
        encoder = SimHashEncoder(simhash, transform.client, settings.probes)
        return cls.fitted(rows, transform, encoder)

    @classmethod
    def fitted(cls, rows: torch.Tensor, transform: Transform, encoder: SimHashEncoder) -> "SimHashTables":
        """Tables over ``rows`` (n, d) with a transform and hash functions that exist already."""
        tables = HashTables(_codes(rows, transform, encoder.simhash), encoder.simhash.bits)
        return cls(encoder, transform, _ranges(rows, transform), tables)

    def state(self) -> dict[str, torch.Tensor]:
        """Codes, the fitted transform and learned projections, to be saved."""
        fitted = transform_state(self.transform)
        tensors = {f"transform.{name}": value for name, value in fitted.items()}
        simhash = self.encoder.simhash
        if simhash.kind == "pca":
            tensors["projections"] = simhash.projections
        return tensors | {"codes": torch.from_numpy(np.ascontiguousarray(self.codes, np.uint16))}

    @classmethod
    def restore(
        cls, rows: torch.Tensor, settings: RetrievalSettings, seed: int, state: Mapping[str, torch.Tensor]
    ) -> "SimHashTables":
        """The tables of ``state`` over the same ``rows`` (n, d).

        Raises:
            KeyError, ValueError: where ``state`` is not of these rows and settings.

        """
        start = "transform."
        fitted = {name.removeprefix(start): value for name, value in state.items() if name.startswith(start)}
        transform = restore_transform(settings.transform, fitted)
        dimension = transform.dimension(rows.shape[1])
        learned = state["projections"] if settings.projections == "pca" else None
        simhash = SimHash(settings.bits, settings.tables, dimension, seed, settings.projections, learned)
        codes = state["codes"].numpy()
        if codes.shape != (len(rows), settings.tables) or codes.dtype != np.uint16:
            raise ValueError(f"codes of type {codes.dtype} and shape {codes.shape}")
        if codes.max() >> settings.bits:
            raise ValueError(f"bucket {codes.max()} of {1 << settings.bits}")
        encoder = SimHashEncoder(simhash, transform.client, settings.probes)
        return cls(encoder, transform, _ranges(rows, transform), HashTables.build(codes, settings.bits))

    def refresh(self, rows: torch.Tensor, ids: np.ndarray) -> "SimHashTables":
        """Tables in which the rows ``ids`` are hashed again; bit for bit those of ``fitted`` over ``rows``.

        It costs the hashing of these rows and a copy of the codes, one or two bytes for each row and table.

        Args:
            rows: all rows (n, d) float32; those not in ``ids`` must be unchanged.
            ids: (k,) integers, ascending, distinct: the rows that changed.

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
        found = _ranges(part, self.transform)
        if ranges is not None and found is not None:
            ranges[ids] = found
        tables = self.tables.moved(ids, _codes(part, self.transform, self.encoder.simhash))
        return replace(self, ranges=ranges, tables=tables)

    @property
    def scale(self) -> RangeScale | None:
        """What makes collisions comparable between norm ranges; None where there is one range."""
        if self.ranges is None or not isinstance(self.transform, NormScaled):
            return None
        return RangeScale(self.ranges, self.transform.limits)


def _codes(rows: torch.Tensor, transform: Transform, simhash: SimHash) -> np.ndarray:
    """Bucket numbers (L, n) of the rows; transformed in chunks, so that no second copy of all is made."""
    codes = np.empty((simhash.tables, len(rows)), code_type(simhash.bits))
    simhash.write((transform.rows(part) for part in rows.split(simhash.chunk)), codes)
    return codes


def _ranges(rows: torch.Tensor, transform: Transform) -> np.ndarray | None:
    """Norm ranges (n,) of the rows, or None where there is one."""
    several = isinstance(transform, NormScaled) and len(transform.limits) > 1
    return transform.ranges(rows) if several and isinstance(transform, NormScaled) else None
