"""What everybody knows of earlier rounds' sums: points for the planes, and how large numbers may be."""

from dataclasses import dataclass

import numpy as np
import torch

from hashfed.federated.sum_layout import BODY, TABLE, TAIL, SumLayout
from hashfed.hashing.cohort_kmeans import GroupSums, first_centroids, step_centroids

LARGEST_QUERY = 10.0
"""Of a coordinate of a query, before any sum tells."""
HEADROOM = 2.0
"""Times the largest number of a sum, a client may add in the next round: what one client alone moves is as
large in the sum, and what all move alike is far smaller in each."""
LEAST_RANGE, MOST_RANGE = 1e-9, 1e12
"""A part that nothing moves has a range all the same; a hostile sum makes none infinite."""
OFTEN = 1e-4
"""Share of a part's numbers; that so many are cut nobody makes believe alone, but in a small cohort."""
SHRINKS = 0.5
"""Of a range from one round to the next, at most."""


@dataclass
class CommonState:
    """Of a run in which the server learns sums alone.

    Attributes:
        ranges: (b,) float64 > 0, by part of the sum (``SumLayout.shapes``): the largest number that a client
            adds.
        centroids: (K, d) float32 of the last cohort's queries; None without planes.

    """

    ranges: torch.Tensor
    centroids: torch.Tensor | None

    @classmethod
    def fresh(
        cls,
        layout: SumLayout,
        rows: torch.Tensor,
        planes: int,
        largest: float,
        predictions: int,
        weight: float,
        caps: np.ndarray,
        rng: np.random.Generator,
    ) -> "CommonState":
        """Before the first round.

        Args:
            layout: of the sum.
            rows: (n, d) of the output table.
            planes: K, or 0.
            largest: change of a parameter.
            predictions: of a client, at most.
            weight: of a client, at most.
            caps: (b,) the largest range of each part (``CommonPlan.caps``).
            rng: of the first points.

        """
        firsts = {"sums": predictions * LARGEST_QUERY, "sizes": float(predictions)}
        firsts["squares"] = firsts["sums"] * LARGEST_QUERY * rows.shape[1]
        ranges = [
            largest * weight if name.startswith((BODY, TABLE)) or name == TAIL else firsts[name]
            for name in layout.shapes
        ]
        centroids = first_centroids(rows, planes, rng) if planes else None
        return cls(torch.from_numpy(np.minimum(np.array(ranges, np.float64), caps)), centroids)

    def follow(
        self,
        layout: SumLayout,
        summed: np.ndarray,
        cut: np.ndarray,
        caps: np.ndarray,
        rng: np.random.Generator,
    ) -> None:
        """Change to what a cohort's sum tells for the next round.

        Args:
            layout: of the sum.
            summed: the numbers that it stands for (``SumLayout.read``).
            cut: (b,) which share of each part's numbers were beyond its range, as clients say.
            caps: (b,) the largest range of each part (``CommonPlan.caps``).
            rng: of centroids that no query was near to.

        """
        most = torch.from_numpy(layout.largest(summed)) * HEADROOM
        # What clients cut may have cancelled in the sum.
        kept = self.ranges * torch.where(torch.from_numpy(cut > OFTEN), HEADROOM, SHRINKS)
        following = torch.maximum(most, kept).clamp_(LEAST_RANGE, MOST_RANGE)
        self.ranges.copy_(torch.minimum(following, torch.from_numpy(caps)))
        if self.centroids is not None:
            parts = layout.split(summed)
            found = GroupSums(parts["sums"], parts["sizes"], parts["squares"])
            self.centroids.copy_(step_centroids(self.centroids, found, rng))
