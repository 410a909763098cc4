"""The directions whose signs are SimHash's bits: drawn from a seed, or learned from the rows."""

from typing import Literal

import numpy as np
import torch

from hashfed.hashing.orthogonal import random_orthogonal
from hashfed.hashing.transforms import mean_and_covariance, sample_rows
from hashfed.randomness import stream

ProjectionKind = Literal["random", "orthogonal", "pca"]
"""How the directions are chosen."""
VARIANCE = 0.9
"""Share of the rows' variance that the principal directions of ``pca`` hold."""


def random_projections(count: int, dimension: int, seed: int) -> torch.Tensor:
    """``count`` independent standard normal directions, (count, d) float32 (Charikar 2002)."""
    normal = stream(seed, "simhash").standard_normal((count, dimension), dtype=np.float32)
    return torch.from_numpy(normal)


def orthogonal_projections(count: int, dimension: int, seed: int) -> torch.Tensor:
    """Random unit directions (count, d) float32, orthogonal within each block of d.

    Each one alone is uniform, so a bit differs with chance θ/π as before, but bits of a block repeat
    one another less: angles are estimated with less variance (super-bit LSH, Ji 2012).
    """
    generator = stream(seed, "orthogonal")
    blocks = []
    for start in range(0, count, dimension):
        blocks.append(random_orthogonal(generator, dimension, min(dimension, count - start)).T)
    return torch.from_numpy(np.concatenate(blocks).astype(np.float32))


def principal_projections(rows: torch.Tensor, count: int, least: int, seed: int) -> torch.Tensor:
    """Random rotations of the leading principal directions of ``rows`` (n, d), (count, d) float32.

    PCA alone gives bits of very unequal use; a rotation spreads the variance over them (ITQ, Gong &
    Lazebnik 2011, here without its iterations: over many tables random rotations average out).

    Args:
        rows: (n, d), as they are hashed.
        count: of directions, K·L.
        least: principal directions to keep at least, such as K; more until they hold ``VARIANCE``.
        seed: of the rotations.

    """
    _, covariance = mean_and_covariance(sample_rows(rows))
    values, vectors = torch.linalg.eigh(covariance)
    falling = values.flip(0).clamp(min=0.0).cumsum(0)
    enough = int((falling < VARIANCE * falling[-1]).sum()) + 1
    kept = min(len(values), max(least, enough))
    leading = vectors.flip(1)[:, :kept].T
    projections: torch.Tensor = orthogonal_projections(count, kept, seed).double() @ leading
    return projections.float()
