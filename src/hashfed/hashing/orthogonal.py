"""Random orthogonal directions."""

import numpy as np


def random_orthogonal(generator: np.random.Generator, dimension: int, count: int) -> np.ndarray:
    """``count`` ≤ d orthonormal columns (d, count), float64, uniform over rotations (Mezzadri 2007)."""
    orthogonal, upper = np.linalg.qr(generator.standard_normal((dimension, count)))
    # The signs of R's diagonal depend on the algorithm; without them the distribution would not be uniform.
    return np.asarray(orthogonal * np.where(np.diag(upper) < 0, -1.0, 1.0))
