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
        means, sizes = _group_means(vectors, centroids)
        centroids = torch.where((sizes > 0)[:, None], means, centroids)
    means, sizes = _group_means(vectors, centroids)
    kept = sizes > 0
    return means[kept], np.asarray(sizes[kept].numpy())


def _group_means(vectors: torch.Tensor, centroids: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Means (k, d) and sizes (k,) of the vectors nearest to each of ``centroids`` (k, d); 0 for none."""
    nearest = (vectors @ centroids.T).sub_(0.5 * centroids.square().sum(1)).argmax(1)
    sizes = torch.bincount(nearest, minlength=len(centroids))
    sums = torch.zeros_like(centroids).index_add_(0, nearest, vectors)
    return sums / sizes.clamp(min=1)[:, None], sizes
