"""One step of k-means over a cohort's queries a round, of sums that clients add up: nobody sees a vector.

Centroids are public and move on by a step with every round, for neither the queries nor the model stand still
long. A centroid that nothing was near to would stay so for ever, so it becomes a copy of the one with the
most queries, moved at random by as much as that one's queries scatter: the next step tells the two apart.
"""

from dataclasses import dataclass

import numpy as np
import torch

from hashfed.hashing.kmeans import nearest_centroids, next_centroids


@dataclass(frozen=True)
class GroupSums:
    """What clients add up.

    Attributes:
        sums: (K, d) float32, of the vectors nearest to each centroid.
        sizes: (K,) float32, how many they are.
        squares: (K,) float32, of their squared norms.

    """

    sums: torch.Tensor
    sizes: torch.Tensor
    squares: torch.Tensor

    @classmethod
    def of(cls, vectors: torch.Tensor, centroids: torch.Tensor) -> "GroupSums":
        """Of a client's ``vectors`` (p, d)."""
        nearest = nearest_centroids(vectors, centroids)
        sums, count = torch.zeros_like(centroids), len(centroids)
        norms = torch.linalg.vector_norm(vectors, dim=1).double()  # no copy of the vectors is made
        squares = torch.bincount(nearest, norms.square(), minlength=count)
        sizes = torch.bincount(nearest, minlength=count)
        return cls(sums.index_add_(0, nearest, vectors), sizes.float(), squares.float())


def first_centroids(rows: torch.Tensor, count: int, rng: np.random.Generator) -> torch.Tensor:
    """Before there are any sums: ``count`` of the model's rows (n, d)."""
    drawn = rng.choice(len(rows), min(count, len(rows)), replace=False, shuffle=False)
    return rows[torch.from_numpy(np.sort(drawn)).to(rows.device)].cpu().clone()


def step_centroids(centroids: torch.Tensor, found: GroupSums, rng: np.random.Generator) -> torch.Tensor:
    """The centroids (K, d) of the next round; ``rng`` moves those that nothing was near to."""
    sizes = found.sizes.double().clamp_min(0)
    moved = next_centroids(centroids, found.sums, sizes.float()).double()
    scatter = found.squares.double() / sizes.clamp_min(1) - moved.square().sum(1)
    deviation = (scatter.clamp_min(0) / moved.shape[1]).sqrt()
    for empty in torch.nonzero(sizes <= 0).flatten().tolist():
        fullest = int(torch.argmax(sizes * (deviation > 0)))
        if sizes[fullest] < 2 or deviation[fullest] == 0:
            break
        sizes[fullest] /= 2
        sizes[empty], deviation[empty] = sizes[fullest], deviation[fullest]
        moved[empty] = (
            moved[fullest] + torch.from_numpy(rng.standard_normal(moved.shape[1])) * deviation[fullest]
        )
    return moved.float()
