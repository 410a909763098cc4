"""Hash collisions of rows that were scaled by parts (``norm_ranges``), made comparable."""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class RangeScale:
    """Makes collisions comparable between norm ranges.

    Attributes:
        ranges: (n,) uint8 norm range of each row.
        limits: (r,) float64, ascending: the largest norm of each range.

    """

    ranges: np.ndarray
    limits: np.ndarray

    def comparable(self, hits: np.ndarray, pairs: float, bits: int) -> np.ndarray:
        """The collisions that each row would have under the largest norm of all, (n,) float64.

        A row's collision rate estimates its cosine with the queries, and the largest norm M_j of its range j
        times this cosine their inner product (Yan 2018): s = M_j · cos(π(1 − rate^(1/K))). The score is the
        number of collisions that a row with this s would have under the largest norm M of all,
        N·L·(1 − arccos(s/M)/π)^K: it rises with s, and ranges of equal norm leave the collisions as they
        are. Rows without a collision stay at 0. With probes a row is hit more often than (1 − θ/π)^K, so the
        cosines are too large: the order within a range is unaffected, that between ranges is a heuristic.

        Args:
            hits: (n,) float64 collisions; overwritten.
            pairs: N·L, (query, table) pairs: at most one collision of a row for each.
            bits: K.

        """
        limits = self.limits
        shares = limits / limits[-1] if limits[-1] > 0 else np.ones(len(limits))
        hit = np.flatnonzero(hits)
        rates = np.minimum(hits[hit] / pairs, 1.0)
        cosines = shares[self.ranges[hit]] * np.cos(np.pi * (1.0 - rates ** (1.0 / bits)))
        hits[hit] = pairs * (1.0 - np.arccos(cosines) / np.pi) ** bits
        return hits
