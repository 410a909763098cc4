"""How likely a true label is to be in the data at all (Jain, Prabhu and Varma 2016)."""

import numpy as np

A, B = 0.55, 1.5
"""The constants that the XC repository has for all but Wikipedia's and Amazon's data."""


def inverse_propensities(label_counts: np.ndarray, examples: int) -> np.ndarray:
    """1/p = 1 + C·(N_l + B)^-A with C = (log N - 1)·(B + 1)^A: (n,) float64.

    Args:
        label_counts: (n,) N_l, training examples that have each label.
        examples: N, number of training examples.

    """
    scale = (np.log(examples) - 1) * (B + 1) ** A
    return np.asarray(1 + scale * (label_counts + B) ** -A, np.float64)
