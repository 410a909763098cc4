"""Collisions to candidates: the arithmetic of both SimHash methods, whoever counts the collisions.

The server counts them in its hash tables; a client that fetched its buckets (``selection.delivery:
pre-generated``) counts them there. Both then call these functions, so that both find the same candidates.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from hashfed.retrieval.protocol import Candidates, Keys
from hashfed.retrieval.simhash_encoder import SimHashEncoder

CountHits = Callable[[np.ndarray, np.ndarray], np.ndarray]
"""``hits(buckets, counts)``: for keys (k,) and counts (k,) how often each row was hit, (n,) float64."""


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


def union_of_buckets(encoder: SimHashEncoder, keys: Keys, count: CountHits) -> Candidates:
    """The rows of all buckets of ``keys``, each with score 1 (paper, section 3.1).

    Raises:
        HashfedError: where the keys do not fit.

    """
    buckets, counts = encoder.check(keys)
    ids = np.flatnonzero(count(buckets, np.ones_like(counts)))
    return Candidates(ids, np.ones(len(ids)))


def most_collisions(
    encoder: SimHashEncoder, keys: Keys, count: CountHits, scale: RangeScale | None, weight: np.ndarray
) -> Candidates:
    """Every row with at least one collision; scores = collisions × ``weight`` (n,).

    Collisions are comparable between norm ranges where there are several (``scale``).

    Raises:
        HashfedError: where the keys do not fit.

    """
    buckets, counts = encoder.check(keys)
    hits = count(buckets, counts)
    if scale is not None and len(counts):
        # A query has 1 + P buckets in a table and a row one: at most one hit for each query and table.
        pairs = float(counts.sum()) / encoder.buckets_per_table
        hits = scale.comparable(hits, pairs, encoder.simhash.bits)
    return Candidates.positive(hits * weight)


def frequency_weight(prior: np.ndarray, exponent: float) -> np.ndarray:
    """By what collisions are multiplied: (public counts (n,) + 1)^exponent, float64."""
    return np.asarray((prior + 1.0) ** exponent)
