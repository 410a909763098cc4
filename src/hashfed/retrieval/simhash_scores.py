"""Collisions to candidates: the arithmetic of both SimHash methods, whoever counts the collisions.

The server counts them in its hash tables; a client that fetched its buckets (``selection.delivery:
pre-generated``) counts them there. Both then call these functions, so that both find the same candidates.
"""

import numpy as np

from hashfed.retrieval.method import CountHits
from hashfed.retrieval.protocol import Candidates, Keys
from hashfed.retrieval.range_scale import RangeScale
from hashfed.retrieval.simhash_encoder import SimHashEncoder


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
