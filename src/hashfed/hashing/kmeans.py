"""Lloyd's k-means, for a client's few hundred queries: no library on the device is needed for it."""

import numpy as np
import torch

from hashfed.randomness import stream

ITERATIONS = 8
"""Enough: coverage does not move after that."""


def kmeans(vectors: torch.Tensor, clusters: int, seed: int) -> tuple[torch.Tensor, np.ndarray]:
    """Means of at most ``clusters`` groups of ``vectors`` (count, d), and their sizes.

    Starts from vectors drawn by ``seed``. Groups that end empty are left out. No vectors, no groups.

    Returns:
        (k, d) float32 centroids and (k,) int64 sizes ≥ 1, with Σ sizes = count.

    """
    count = len(vectors)
    if count == 0:
        return vectors.clone(), np.empty(0, np.int64)
    k = min(clusters, count)
    start = stream(seed, "kmeans").choice(count, k, replace=False, shuffle=False)
    centroids = vectors[torch.from_numpy(np.sort(start))]
    for _ in range(ITERATIONS):
        centroids = next_centroids(centroids, *group_sums(vectors, centroids))
    sums, sizes = group_sums(vectors, centroids)
    kept = sizes > 0
    return next_centroids(centroids, sums, sizes)[kept], np.asarray(sizes[kept].numpy())


def weighted_kmeans(vectors: torch.Tensor, weights: np.ndarray, clusters: int, seed: int) -> torch.Tensor:
    """Means of at most ``clusters`` groups of vectors that each stand for several.

    Args:
        vectors: (count, d) float32, more than ``clusters``.
        weights: (count,) above 0.
        clusters: k ≥ 1.
        seed: of the start, which is drawn in proportion to the weights.

    Returns:
        (k, d) float32; groups that end empty are left out.

    """
    chances = np.asarray(weights, np.float64) / weights.sum()
    start = stream(seed, "kmeans").choice(len(vectors), clusters, replace=False, p=chances)
    centroids, shares = vectors[torch.from_numpy(np.sort(start))], torch.from_numpy(chances).float()
    for _ in range(ITERATIONS):
        centroids = next_centroids(centroids, *group_sums(vectors, centroids, shares))
    sums, sizes = group_sums(vectors, centroids, shares)
    return next_centroids(centroids, sums, sizes)[sizes > 0]


def group_sums(
    vectors: torch.Tensor, centroids: torch.Tensor, weights: torch.Tensor | None = None
) -> tuple[torch.Tensor, torch.Tensor]:
    """A step of k-means as sums, which several clients can add up: nobody need see another's vectors.

    Args:
        vectors: (count, d).
        centroids: (k, d), the same for all.
        weights: (count,) of the vectors; None: one each.

    Returns:
        For each centroid the weighted sum (k, d) of the vectors nearest to it, and their weight (k,), int64
        where each weighs one.

    """
    nearest = nearest_centroids(vectors, centroids)
    sizes = torch.bincount(nearest, weights, minlength=len(centroids))
    weighted = vectors if weights is None else vectors * weights[:, None]
    return torch.zeros_like(centroids).index_add_(0, nearest, weighted), sizes


def nearest_centroids(vectors: torch.Tensor, centroids: torch.Tensor) -> torch.Tensor:
    """For each of ``vectors`` (count, d), which centroid (k, d) is nearest, (count,) int64."""
    return (vectors @ centroids.T).sub_(0.5 * centroids.square().sum(1)).argmax(1)


def next_centroids(centroids: torch.Tensor, sums: torch.Tensor, sizes: torch.Tensor) -> torch.Tensor:
    """The means (k, d) of what ``group_sums`` summed; a centroid that nothing is near to stays."""
    few = torch.finfo(torch.float32).tiny if sizes.is_floating_point() else 1
    return torch.where((sizes > 0)[:, None], sums / sizes.clamp(min=few)[:, None], centroids)
