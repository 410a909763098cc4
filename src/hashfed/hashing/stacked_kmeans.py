"""``kmeans`` of many clients at once, each of its own vectors, on whatever device these are."""

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
import torch

from hashfed.hashing.kmeans import ITERATIONS
from hashfed.randomness import stream


def alike(sizes: Sequence[int], most: int | None = None) -> list[slice]:
    """Parts of neighbours, the largest first, in which none is padded to more than twice its size.

    Args:
        sizes: descending.
        most: of a part, all padded to its largest; but it has at least one.

    """
    found, start = list[slice](), 0
    for place, size in enumerate(sizes):
        full = most is not None and (place - start + 1) * sizes[start] > most
        if place > start and (2 * size < sizes[start] or full):
            found.append(slice(start, place))
            start = place
    return [*found, slice(start, len(sizes))] if sizes else found


def kmeans_many(
    vectors: Sequence[torch.Tensor], clusters: int, seed: int
) -> tuple[torch.Tensor, list[np.ndarray]]:
    """Means of at most ``clusters`` groups of each client's vectors, and their sizes: see ``kmeans``.

    Args:
        vectors: (p, d) of each client, at least one; best of about as many.
        clusters: groups at most.
        seed: of the start.

    Returns:
        (K, d) float32 centroids, one client's after the other's, and (k,) int64 sizes ≥ 1 of each client.

    """
    counts, device = [len(of) for of in vectors], vectors[0].device
    first, place = np.cumsum(counts) - counts, np.arange(max(counts))
    inside = place < np.array(counts)[:, None]
    places = torch.from_numpy(np.where(inside, first[:, None] + place, 0)).to(device)
    stacked = torch.cat(list(vectors))[places]
    begins = np.full((len(counts), min(clusters, max(counts))), -1)
    for place, count in zip(begins, counts, strict=True):
        begin = _start(seed, count, min(clusters, count))
        place[: len(begin)] = begin
    starts = torch.from_numpy(begins).to(device)
    there = torch.from_numpy(inside.astype(np.float32)).to(device)
    empty = torch.where(starts >= 0, 0.0, -torch.inf)
    width = stacked.shape[2]
    centroids = stacked.gather(1, starts.clamp(min=0)[:, :, None].expand(-1, -1, width))
    for _ in range(ITERATIONS + 1):
        sums, sizes = _sums(stacked, there, centroids, empty)
        centroids = torch.where((sizes > 0)[:, :, None], sums / sizes.clamp(min=1)[:, :, None], centroids)
    held = sizes.cpu().numpy().astype(np.int64)
    kept = torch.from_numpy(np.flatnonzero(held)).to(device)
    return centroids.flatten(0, 1)[kept], [of[of > 0] for of in held]


def _sums(
    vectors: torch.Tensor, there: torch.Tensor, centroids: torch.Tensor, empty: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Sums (C, k, d) of the vectors nearest to each centroid, and their numbers (C, k) float32."""
    offsets = empty - 0.5 * centroids.square().sum(2)
    nearest = torch.baddbmm(offsets[:, None], vectors, centroids.transpose(1, 2)).argmax(2)
    member = torch.zeros(*vectors.shape[:2], centroids.shape[1], device=vectors.device)
    member.scatter_(2, nearest[:, :, None], there[:, :, None])
    return torch.bmm(member.transpose(1, 2), vectors), member.sum(1)


@lru_cache(maxsize=4096)
def _start(seed: int, count: int, clusters: int) -> np.ndarray:
    """The vectors that ``kmeans`` begins with, ascending: they depend on how many there are alone."""
    return np.sort(stream(seed, "kmeans").choice(count, clusters, replace=False, shuffle=False))
