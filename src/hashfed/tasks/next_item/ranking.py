"""Metrics of a ranked list whose ties are broken at random: what is expected of them."""

from functools import lru_cache

import numpy as np


def expected(above: np.ndarray, tied: np.ndarray, cutoffs: tuple[int, ...]) -> dict[str, np.ndarray]:
    """Of each prediction, in the mean over the orders of what is tied.

    The target is one of ``tied`` + 1 answers with its score, each of which is as likely to stand at any of
    their places: so equal scores for all are worth what chance is.

    Args:
        above: (p,) answers with a higher score than the target's.
        tied: (p,) other answers with the same score.
        cutoffs: k.

    Returns:
        Each (p,) float64: ``hr_K``, 1 where the target is among the first k, else 0; ``ndcg_K``, there
        1 / log2(1 + its place), else 0; ``mrr``, 1 / its place.

    """
    found, last = {}, above + tied + 1
    most = int(last.max(initial=1))
    for k in cutoffs:
        gains = _summed("log", min(k, most))
        first, end = np.minimum(above, len(gains) - 1), np.minimum(last, len(gains) - 1)
        found[f"hr_{k}"] = (np.minimum(last, k) - np.minimum(above, k)) / (tied + 1)
        found[f"ndcg_{k}"] = (gains[end] - gains[first]) / (tied + 1)
    places = _summed("inverse", most)
    return found | {"mrr": (places[last] - places[above]) / (tied + 1)}


@lru_cache(8)
def _summed(kind: str, most: int) -> np.ndarray:
    """(most + 1,) sums over the first places of 1 / log2(1 + place), or of 1 / place."""
    place = np.arange(1, most + 1, dtype=np.float64)
    return np.concatenate([[0.0], np.cumsum(1 / (np.log2(1 + place) if kind == "log" else place))])
