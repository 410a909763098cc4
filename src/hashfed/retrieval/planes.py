"""The tail of a selection as a few more logits: a control variate of the draw (docs/retrieval.md).

T are the rows that a selection does not hold with certainty. At each of K points c, which stand for the
client's queries, the server knows the tail's log-sum-exp and its gradient,

    A = log Σ_{i∈T} exp(c·w_i),   π̂_i = exp(c·w_i − A),   μ = Σ_{i∈T} π̂_i w_i
    plane(q) = A + (q − c)·μ   ≤   log Σ_{i∈T} exp(q·w_i)      (the tangent of a convex function)

and how wrong the draw of the client's rows, with chances π, is there: in value and in slope,

    κ = 1 − Σ_{i drawn} π̂_i/π_i,   ν = Σ_{i drawn} (π̂_i/π_i) (w_i − μ)      (mean zero over draws)

so that Σ_{certain} e^{q·w} + Σ_{drawn} e^{q·w}/π + e^{plane(q)} (κ − (q − c)·ν) has the mean of the sampled
sum, which is that of all rows, and is exact at the points. A control variate: Owen 2013, "Monte Carlo theory,
methods and examples", section 8.9; the first order in q − c is ours.
"""

from dataclasses import dataclass, replace

import numpy as np
import torch

from hashfed.errors import ClientDivergedError
from hashfed.hashing.kmeans import weighted_kmeans
from hashfed.retrieval.evidence import CHUNK_LOGITS, PLAIN, TILE_LOGITS
from hashfed.retrieval.protocol import Powers
from hashfed.retrieval.select import Selection

PLAIN_SQUARES = 1e-5, 1e15
"""As ``PLAIN``, where the squares of the exponentials are summed too."""
LARGEST_POINT = 1e4
"""Of a coordinate. Beyond it float32 rounds a logit by nats, so that what a point's plane is made of and what
comes back for it would be two things. Queries of trained models are below 100."""


@dataclass(frozen=True)
class Planes:
    """K planes as a client needs them: affine in the query, so that it need not know the points.

    plane_j(q) = offsets_j + q·slopes_j, and its factor in the partition function, κ − (q − c)·ν, is
    errors_j − q·error_slopes_j. A query takes the largest plane.

    Attributes:
        offsets: (K,) float32, A − c·μ.
        slopes: (K, d), μ.
        errors: (K,) float32, κ + c·ν.
        error_slopes: (K, d), ν.

    """

    offsets: torch.Tensor
    slopes: torch.Tensor
    errors: torch.Tensor
    error_slopes: torch.Tensor

    def tensors(self) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
        """In the order of the attributes."""
        return self.offsets, self.slopes, self.errors, self.error_slopes


@dataclass(frozen=True)
class Tail:
    """What the server remembers of a client's tail until its update comes.

    Attributes:
        points: (K, d) float32.
        log_sums: (K,) float32, A.
        ids: (l,) int64 ascending, the rows of the selection.
        factors: (l,) float32, by how much of π̂·G each of these rows is moved: 0 where it is certain, else
            1 − 1/π; every other row is moved by all of it.
        reach: (K,) float32, no less than the largest |factor · π̂| of any row.
        gram: (K, K) float32, Σ_{i∈T} factor² π̂_i π̂_iᵀ; None where no update's norm is asked for.
        drawn: (l, K) float32, factor · π̂ of the rows of the selection; likewise.

    """

    points: torch.Tensor
    log_sums: torch.Tensor
    ids: np.ndarray
    factors: torch.Tensor
    reach: torch.Tensor
    gram: torch.Tensor | None = None
    drawn: torch.Tensor | None = None

    def cpu(self) -> "Tail":
        """The same in the memory of the CPU."""
        on_cpu = {name: getattr(self, name).cpu() for name in ("points", "log_sums", "reach")}
        return replace(self, **on_cpu)


def tail_points(queries: torch.Tensor, counts: np.ndarray | None, most: int, seed: int) -> torch.Tensor:
    """At most ``most`` points (K, d) for ``queries`` (c, d), of which each stands for ``counts`` (c,)."""
    if len(queries) <= most:
        return queries
    weights = np.ones(len(queries)) if counts is None else counts.astype(np.float64)
    return weighted_kmeans(queries, weights, most, seed)


def make_planes(
    rows: torch.Tensor,
    points: torch.Tensor,
    selection: Selection,
    precision: torch.dtype = torch.float32,
    gram: bool = False,
    powers: Powers | None = None,
) -> tuple[Planes, Tail] | None:
    """The planes of the tail of ``selection``; None where there is no tail, or no point.

    Args:
        rows: (n, d) float32.
        points: (K, d) float32.
        selection: of the client; rows of log_weight 0 are certain, of the others −log_weight is log π.
        precision: in which slopes will travel: they are rounded here, and the offsets made of what is left,
            so that a plane still meets the tail at its point, and the error is still that of the draw.
        gram: whether the update's norm will be asked for.
        powers: of an index, used where they are of these rows and points, and overwritten.

    Raises:
        HashfedError: where a point is not finite, or absurdly large.

    """
    if len(points) == 0:
        return None
    if powers is not None and not (powers.rows is rows and torch.equal(powers.points, points)):
        powers = None
    check_points(points)
    points = points.to(rows.device)
    certain = selection.log_weight == 0
    sure = selection.ids[certain]
    if len(sure) == len(rows):
        return None
    return planes_of_moments(
        rows, points, selection, _tail_moments(rows, points, sure, gram, powers), precision
    )


def check_points(points: torch.Tensor) -> None:
    """Refuse points (K, d), K ≥ 1, whose logits would not be finite, nor what comes back and moves every row.

    Raises:
        HashfedError: where one is not finite, or absurdly large.

    """
    if not bool(points.abs().amax() <= LARGEST_POINT):
        raise ClientDivergedError(
            "a client's queries are not finite, or absurdly large: the training diverged"
        )


def planes_of_moments(
    rows: torch.Tensor,
    points: torch.Tensor,
    selection: Selection,
    moments: "TailMoments",
    precision: torch.dtype = torch.float32,
) -> tuple[Planes, Tail]:
    """``make_planes`` where the moments of the tail are known."""
    draw = _Draw.of(rows, points, selection, moments)
    return _planes(points, moments, draw, precision), _tail(points, selection, moments, draw)


def _planes(points: torch.Tensor, moments: "TailMoments", draw: "_Draw", precision: torch.dtype) -> Planes:
    total = draw.shares.sum(0)
    slopes = rounded(moments.slopes, precision)
    mu = slopes.float()
    # About μ also where a plane's slope is rounded: mean zero, and the slope of Z is right all the same.
    nu = rounded(draw.shares.T @ draw.rows - moments.slopes + (1 - total)[:, None] * mu, precision)
    return Planes(
        moments.log_sums - (points * mu).sum(1),
        slopes,
        1 - total + (points * nu.float()).sum(1),
        nu,
    )


def _tail(points: torch.Tensor, selection: Selection, moments: "TailMoments", draw: "_Draw") -> Tail:
    drawn = selection.log_weight != 0
    factors = np.zeros(len(selection.ids), np.float32)
    factors[drawn] = 1 - np.exp(selection.log_weight[drawn])
    reach = torch.ones(len(points), device=points.device)
    if len(draw.rows):
        reach = torch.maximum(reach, draw.shares.amax(0))
    tail = Tail(points, moments.log_sums, selection.ids, torch.from_numpy(factors), reach)
    if moments.squares is None:
        return tail
    plain, place = draw.plain.cpu(), torch.from_numpy(drawn)
    moved = plain * tail.factors[place][:, None]
    listed = torch.zeros(len(selection.ids), len(points))
    listed[place] = moved
    # What is drawn is moved by its factor, not by all of π̂·G.
    return replace(tail, gram=moments.squares.cpu() - plain.T @ plain + moved.T @ moved, drawn=listed)


def rounded(value: torch.Tensor, precision: torch.dtype) -> torch.Tensor:
    """To ``precision``, and finite there."""
    most = torch.finfo(precision).max
    return value.clamp(-most, most).to(precision)


@dataclass(frozen=True)
class TailMoments:
    """Of all rows but the certain ones.

    Attributes:
        log_sums: (K,) A.
        slopes: (K, d) μ.
        squares: (K, K) Σ π̂ π̂ᵀ, where it was asked for.
        powers: (K, n) that these were summed of; None where they were not kept.

    """

    log_sums: torch.Tensor
    slopes: torch.Tensor
    squares: torch.Tensor | None
    powers: torch.Tensor | None

    def shares(self, held: torch.Tensor, ids: torch.Tensor, points: torch.Tensor) -> torch.Tensor:
        """π̂ (l, K), at most 1, of rows ``held`` (l, d), whose ``ids`` these are, none of them certain."""
        if self.powers is None or self.powers.dtype == torch.float32:
            return torch.exp((held @ points.T - self.log_sums).clamp_max_(0))
        return (self.powers[:, ids].T.float() * torch.exp(-self.log_sums)).clamp_max_(1)


@dataclass(frozen=True)
class _Draw:
    """The rows of a selection that are not certain.

    Attributes:
        rows: (l, d).
        plain: (l, K) π̂.
        shares: (l, K) π̂/π.

    """

    rows: torch.Tensor
    plain: torch.Tensor
    shares: torch.Tensor

    @classmethod
    def of(
        cls, rows: torch.Tensor, points: torch.Tensor, selection: Selection, moments: TailMoments
    ) -> "_Draw":
        """Of the same exponentials as the sums, so that its error has mean zero in whatever precision."""
        drawn = selection.log_weight != 0
        ids = torch.from_numpy(selection.ids[drawn]).to(rows.device)
        weight = torch.from_numpy(selection.log_weight[drawn]).to(rows.device)
        held = rows[ids]
        plain = moments.shares(held, ids, points)
        return cls(held, plain, plain * torch.exp(weight)[:, None])


def _tail_moments(
    rows: torch.Tensor, points: torch.Tensor, certain: np.ndarray, gram: bool, powers: Powers | None
) -> TailMoments:
    sums, moments, squares = _tail_sums(rows, points, certain, None, gram, powers)
    peaks = torch.zeros(len(points), device=rows.device)
    least, most = PLAIN_SQUARES if gram else PLAIN
    if not bool(((sums > least) & (sums < most)).all()):
        powers, peaks = None, _peaks(rows, points, certain)
        sums, moments, squares = _tail_sums(rows, points, certain, peaks, gram)
    scale = (1 / sums).float()
    if squares is not None:
        squares *= scale[:, None] * scale
    kept = None if powers is None else powers.values.T
    return TailMoments(sums.log().float() + peaks, moments * scale[:, None], squares, kept)


def _tail_sums(
    rows: torch.Tensor,
    points: torch.Tensor,
    certain: np.ndarray,
    peaks: torch.Tensor | None,
    gram: bool,
    made: Powers | None = None,
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor | None]:
    """Sums of E = exp(rows · points − peaks): Σ E (K,) float64, Σ E w (K, d), Σ E Eᵀ (K, K)."""
    sums = torch.zeros(len(points), dtype=torch.float64, device=rows.device)
    moments = torch.zeros_like(points)
    squares = torch.zeros(len(points), len(points), device=rows.device) if gram else None
    turned = points.T.contiguous()
    for part, held in _tiles(rows, len(points), certain):
        tile = rows[part] if made is None else made.table[part]
        powers = _powers(tile, turned, peaks) if made is None else made.values[part]
        if len(held):
            powers[torch.from_numpy(held).to(rows.device)] = 0
        sums += powers.sum(0, dtype=torch.float32)
        add_product(moments, powers.T, tile)
        if squares is not None:
            add_product(squares, powers.T, powers)
    return sums, moments, squares


def add_product(total: torch.Tensor, one: torch.Tensor, other: torch.Tensor) -> None:
    """``total`` (a, c) += ``one`` (a, b) @ ``other`` (b, c), in place; these may be of less precision."""
    if one.dtype == total.dtype:
        total.addmm_(one, other)
    else:
        total += one @ other


def _powers(tile: torch.Tensor, turned: torch.Tensor, peaks: torch.Tensor | None) -> torch.Tensor:
    logits = tile @ turned
    return logits.exp_() if peaks is None else logits.sub_(peaks).exp_()


def _peaks(rows: torch.Tensor, points: torch.Tensor, certain: np.ndarray) -> torch.Tensor:
    """The largest logit of the tail at each point, (K,)."""
    peaks = torch.full((len(points),), -torch.inf, device=rows.device)
    for part, held in _tiles(rows, len(points), certain):
        logits = rows[part] @ points.T
        if len(held):
            logits[torch.from_numpy(held).to(rows.device)] = -torch.inf
        peaks = torch.maximum(peaks, logits.amax(0))
    return peaks


def _tiles(rows: torch.Tensor, points: int, certain: np.ndarray) -> list[tuple[slice, np.ndarray]]:
    """Parts of the rows, and where in each the ``certain`` ones are."""
    # A GPU has no such cache: few large products keep it busy.
    size, logits = len(rows), CHUNK_LOGITS if rows.is_cuda else TILE_LOGITS
    step = max(256, logits // points)
    ends = np.searchsorted(certain, np.arange(0, size + step, step))
    return [
        (slice(start, start + step), certain[ends[tile] : ends[tile + 1]] - start)
        for tile, start in enumerate(range(0, size, step))
    ]
