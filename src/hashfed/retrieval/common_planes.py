"""Planes of the tail for a whole cohort, from which each client takes the rows that it holds by itself.

The rows U that all clients of a round get are the same, and so are points and planes (``retrieval.planes``)
of the rest: nothing of one client's queries or rows is in them. A client that holds rows R of that tail
beside (its own) is to count them once. It has them, so it takes them out exactly, at each point c with π̂ =
e^{c·w − A}:

    ρ = Σ_{i∈R} π̂_i,   A' = A + log(1 − ρ),   μ' = (μ − Σ_{i∈R} π̂_i w_i) / (1 − ρ)

What it answers, G, moves row i of its tail by π̂'_i G = π̂_i G / (1 − ρ): told as G/(1 − ρ), it is a change
of the common planes, and clients' changes can be summed before anybody spreads them over the rows. The rows
that it took out would be moved too; it takes that out of its own change of them (``own_push``).
"""

from dataclasses import dataclass

import numpy as np
import torch

from hashfed.retrieval.planes import Planes, Tail, TailMoments, make_planes, planes_of_moments
from hashfed.retrieval.select import Selection

LEAST_LEFT = 1e-4
"""Of a plane's mass that is left where a client takes more out: float32 sums tell no less apart."""


@dataclass(frozen=True)
class CommonPlanes:
    """What all clients of a round are told of the rows that are not in U with certainty.

    Attributes:
        points: (K, d) float32.
        log_sums: (K,) float32, A.
        slopes: (K, d) float32, μ.

    """

    points: torch.Tensor
    log_sums: torch.Tensor
    slopes: torch.Tensor


@dataclass(frozen=True)
class OwnPlanes:
    """Those of one client.

    Attributes:
        planes: of its tail, for the loss.
        left: (K,) float32 1 − ρ, of each plane's mass.
        shares: (r, K) float32 π̂ of the rows that were taken out.

    """

    planes: Planes
    left: torch.Tensor
    shares: torch.Tensor

    def told(self, change: torch.Tensor) -> torch.Tensor:
        """G (K, d) as a change of the common planes."""
        return change / self.left[:, None]

    def own_push(self, told: torch.Tensor, factors: torch.Tensor) -> torch.Tensor:
        """What ``told`` does to the rows that were taken out (r, d), which ``factors`` (r,) are of."""
        return factors[:, None] * (self.shares @ told)


def make_common_planes(
    rows: torch.Tensor, points: torch.Tensor, selection: Selection, gram: bool = False
) -> tuple[CommonPlanes, Tail] | None:
    """The planes for a cohort and what spreads its change of them; None where there is no tail.

    Args:
        rows: (n, d) float32, all of them.
        points: (K, d) float32, K ≥ 1.
        selection: U; rows of log_weight 0 are certain, of the others −log_weight is log π.
        gram: whether updates are clipped by their norm.

    Raises:
        HashfedError: where a point is not finite, or absurdly large.

    """
    made = make_planes(rows, points, selection, gram=gram)
    if made is None:
        return None
    planes, tail = made
    return CommonPlanes(tail.points, tail.log_sums, planes.slopes), tail


def draw_factors(log_weight: np.ndarray) -> np.ndarray:
    """By how much of π̂·G (``retrieval.planes.Tail``) each row of a selection is moved, (l,) float32."""
    factors = np.zeros(len(log_weight), np.float32)
    drawn = log_weight != 0
    factors[drawn] = 1 - np.exp(log_weight[drawn])
    return factors


def own_planes(
    common: CommonPlanes, taken: torch.Tensor, held: torch.Tensor, log_weight: np.ndarray
) -> OwnPlanes:
    """A client's planes.

    Args:
        common: of its round.
        taken: (r, d) rows of the common tail that it holds with certainty.
        held: (m, d) all rows that it holds.
        log_weight: (m,) of them, 0 where they are certain.

    """
    shares = torch.exp((taken @ common.points.T).double() - common.log_sums.double())
    left = (1 - shares.sum(0)).clamp_min_(LEAST_LEFT)
    slopes = (common.slopes.double() - shares.T @ taken.double()) / left[:, None]
    log_sums = common.log_sums.double() + left.log()
    moments = TailMoments(log_sums.float(), slopes.float(), None, None)
    selection = Selection(np.arange(len(held)), log_weight)
    planes, _ = planes_of_moments(held, common.points, selection, moments)
    return OwnPlanes(planes, left.float(), shares.float())
