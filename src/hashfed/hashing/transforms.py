"""Maps of rows and queries before hashing, so that small angles mean large inner products.

The server fits a transform to the rows. Clients receive its ``QueryTransform`` alone: nothing for most, a
d × d matrix for ``whiten``. What a transform does to a row depends on this row and the fit only, never on
the rows beside it, so rows can be hashed again a few at a time.

A row beyond the fitted largest norm (it may grow before the next fit) is shortened to it.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np
import torch
from torch.nn import functional

from hashfed.errors import HashfedError

TransformKind = Literal["none", "center", "simple-lsh", "sign-alsh", "whiten"]
"""Names of the transforms."""
APPENDED: dict[TransformKind, int] = {"none": 0, "center": 0, "simple-lsh": 1, "sign-alsh": 2, "whiten": 0}
"""Coordinates that rows and queries gain."""
RANGED: tuple[TransformKind, ...] = ("simple-lsh", "sign-alsh")
"""Those that scale rows by the largest norm, and so gain from norm ranges."""
LARGEST_NORM = 0.75
"""U of Sign-ALSH, which with m = 2 its authors advise (Shrivastava & Li 2015, section 4)."""
RIDGE = 1e-3
"""Added to the covariance before whitening, as a share of the mean variance: no direction blows up."""
SAMPLE = 65536
"""Rows from which a covariance is taken, evenly spaced: bounds its cost at SAMPLE·d² products."""


@dataclass(frozen=True)
class QueryTransform:
    """What happens to queries: all that a client needs of a transform.

    Attributes:
        kind: which transform.
        matrix: (d, d) float32, symmetric, for ``whiten``; else None.

    """

    kind: TransformKind = "none"
    matrix: torch.Tensor | None = None

    def __call__(self, queries: torch.Tensor) -> torch.Tensor:
        """Queries (count, d) to (count, d + appended)."""
        if self.matrix is not None:
            queries = queries @ self.matrix.to(queries.dtype)
        if self.kind == "sign-alsh":
            queries = functional.normalize(queries)
        return functional.pad(queries, (0, APPENDED[self.kind]))


@dataclass(frozen=True)
class Transform(ABC):
    """A transform that is fitted to rows.

    Attributes:
        kind: its name.
        client: what happens to queries.

    """

    kind: ClassVar[TransformKind]

    @abstractmethod
    def rows(self, rows: torch.Tensor) -> torch.Tensor:
        """Rows (n, d) to (n, d + appended), of the same type; the argument stays as it is."""

    @property
    def client(self) -> QueryTransform:
        """What happens to queries."""
        return QueryTransform(self.kind)

    def queries(self, queries: torch.Tensor) -> torch.Tensor:
        """Queries (count, d) to (count, d + appended)."""
        return self.client(queries)

    def dimension(self, before: int) -> int:
        """Length of transformed vectors, from that ``before``."""
        return before + APPENDED[self.kind]


@dataclass(frozen=True)
class NoTransform(Transform):
    """Rows and queries as they are: angles, whatever the norms."""

    kind: ClassVar[TransformKind] = "none"

    def rows(self, rows: torch.Tensor) -> torch.Tensor:
        """The argument itself."""
        return rows


@dataclass(frozen=True)
class Center(Transform):
    """Rows minus their mean (d,).

    For one query q, q·(w − μ) = q·w − q·μ: every row loses the same constant, so the order of the
    inner products is unchanged, while the angles between rows spread (word vectors share a mean
    direction). Queries stay as they are.
    """

    mean: torch.Tensor
    kind: ClassVar[TransformKind] = "center"

    def rows(self, rows: torch.Tensor) -> torch.Tensor:
        """Rows minus the mean."""
        return rows - self.mean


@dataclass(frozen=True)
class NormScaled(Transform):
    """Common part of the transforms that scale rows by the largest norm, of all or of a norm range.

    Attributes:
        limits: (ranges,) float64, ascending: the largest norm of each range (Yan 2018). A row belongs to
            the first range that it does not exceed.

    """

    limits: np.ndarray

    def ranges(self, rows: torch.Tensor) -> np.ndarray:
        """The norm range of each row, (n,) uint8."""
        return self._ranges(row_norms(rows))

    def _ranges(self, norms: np.ndarray) -> np.ndarray:
        found = np.searchsorted(self.limits, norms)
        return np.minimum(found, len(self.limits) - 1).astype(np.uint8)

    def _scaled(self, rows: torch.Tensor, largest: float) -> tuple[torch.Tensor, torch.Tensor]:
        """Rows (n, d) float64 with norms up to ``largest``, and these norms (n, 1)."""
        norms = row_norms(rows)
        limits = self.limits[self._ranges(norms)]
        factors = largest / np.maximum(np.maximum(limits, norms), np.finfo(np.float64).tiny)
        factors[norms == 0] = 0.0
        scaled = rows.double() * torch.from_numpy(factors)[:, None]
        return scaled, torch.from_numpy(np.minimum(norms * factors, largest))[:, None]


@dataclass(frozen=True)
class SimpleLSH(NormScaled):
    """Rows [x; √(1 − ‖x‖²)] with x the row over the largest norm, queries [q; 0].

    All rows have norm 1 and inner products are kept up to the scale, so the cosine with a query is
    proportional to the inner product (Neyshabur & Srebro 2015). Appending √(M² − ‖w‖²) with the largest
    norm M (Bachrach 2014) is the same map before scaling.
    """

    kind: ClassVar[TransformKind] = "simple-lsh"

    def rows(self, rows: torch.Tensor) -> torch.Tensor:
        """One coordinate more, all of norm 1."""
        scaled, norms = self._scaled(rows, 1.0)
        return torch.cat([scaled, (1.0 - norms.square()).sqrt()], 1).to(rows.dtype)


@dataclass(frozen=True)
class SignALSH(NormScaled):
    """Rows [x; 1/2 − ‖x‖²; 1/2 − ‖x‖⁴], ‖x‖ ≤ U = 0.75, queries [q/‖q‖; 0; 0].

    Inner products are kept up to the scale, and ‖P(x)‖² = 1/2 + ‖x‖⁸ lies between 0.5 and 0.6, so the
    order of the cosines is nearly that of the inner products (Shrivastava & Li 2015, arXiv 1410.5410).
    """

    kind: ClassVar[TransformKind] = "sign-alsh"

    def rows(self, rows: torch.Tensor) -> torch.Tensor:
        """Two coordinates more."""
        scaled, norms = self._scaled(rows, LARGEST_NORM)
        square = norms.square()
        return torch.cat([scaled, 0.5 - square, 0.5 - square.square()], 1).to(rows.dtype)


@dataclass(frozen=True)
class Whiten(Transform):
    """Rows S^(−1/2)(w − μ), queries S^(1/2) q, with S the covariance of the rows, slightly regularised.

    Inner products are those of ``Center``. In all directions rows vary equally, so the bits of random
    projections split them evenly, while queries stretch where rows differed.

    Attributes:
        mean: (d,) float64.
        inverse: S^(−1/2), (d, d) float64.
        root: S^(1/2), (d, d) float32.

    """

    mean: torch.Tensor
    inverse: torch.Tensor
    root: torch.Tensor
    kind: ClassVar[TransformKind] = "whiten"

    @property
    def client(self) -> QueryTransform:
        """The matrix S^(1/2)."""
        return QueryTransform(self.kind, self.root)

    def rows(self, rows: torch.Tensor) -> torch.Tensor:
        """Whitened rows."""
        # float64: rounded once at the end, whichever rows are multiplied together.
        return ((rows.double() - self.mean) @ self.inverse).to(rows.dtype)


def fit_transform(kind: TransformKind, rows: torch.Tensor, ranges: int = 1) -> Transform:
    """The transform ``kind``, fitted to ``rows`` (n, d), n ≥ 1.

    Args:
        kind: its name.
        rows: (n, d), finite.
        ranges: of the norm, each scaled on its own; 1 unless the kind is ``simple-lsh`` or ``sign-alsh``.

    Raises:
        HashfedError: for norm ranges with another kind.

    """
    if ranges > 1 and kind not in RANGED:
        raise HashfedError(f"norm_ranges = {ranges}: {kind} rows are not scaled by norm; must be 1")
    if kind == "none":
        return NoTransform()
    if kind == "center":
        return Center(rows.mean(dim=0))
    if kind == "whiten":
        return _fit_whiten(rows)
    limits = _range_limits(row_norms(rows), ranges)
    return SimpleLSH(limits) if kind == "simple-lsh" else SignALSH(limits)


def sample_rows(rows: torch.Tensor) -> torch.Tensor:
    """At most ``SAMPLE`` evenly spaced rows of ``rows`` (n, d), for a covariance."""
    return rows[:: -(-len(rows) // SAMPLE)]


def mean_and_covariance(rows: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Mean (d,) and covariance (d, d) of ``rows`` (n, d), float64."""
    values = rows.double()
    mean = values.mean(dim=0)
    values -= mean
    return mean, values.T @ values / len(values)


def row_norms(rows: torch.Tensor) -> np.ndarray:
    """Euclidean norms (n,) float64 of ``rows`` (n, d)."""
    norms = np.empty(len(rows))
    start = 0
    # numpy adds up a row in an order that does not depend on the other rows; torch does not promise it.
    for part in rows.split(16384):
        squares = np.square(np.ascontiguousarray(part.numpy(), np.float64))
        norms[start : start + len(part)] = np.sqrt(squares.sum(axis=1))
        start += len(part)
    return norms


def _range_limits(norms: np.ndarray, ranges: int) -> np.ndarray:
    """The largest norm in each of ``ranges`` equal parts of the sorted ``norms`` (n,)."""
    last = -(-np.arange(1, ranges + 1) * len(norms) // ranges) - 1
    return np.asarray(np.sort(norms)[last])


def _fit_whiten(rows: torch.Tensor) -> Whiten:
    mean, covariance = mean_and_covariance(sample_rows(rows))
    variance = float(covariance.diagonal().mean())
    if variance == 0.0:
        covariance, variance = torch.eye(len(mean), dtype=torch.float64), 1.0
    values, vectors = torch.linalg.eigh(covariance)
    roots = (values.clamp(min=0.0) + RIDGE * variance).sqrt()
    root, inverse = (vectors * roots) @ vectors.T, (vectors / roots) @ vectors.T
    return Whiten(mean, inverse, root.float())
