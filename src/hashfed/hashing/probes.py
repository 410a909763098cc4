"""Which other buckets to look into: those that a query just missed (multi-probe LSH, Lv 2007).

A bit whose projection is near zero may well be the other one for a near row. A perturbation set of bits
costs the sum of their squared projections; the cheapest sets are probed first. Which sets can be among the
cheapest P depends on ranks alone, not on the query, so these few are listed once and then compared for
all queries and tables at a time.
"""

from functools import lru_cache

import numpy as np

MAX_PROBES = 32
"""Most extra buckets for each query and table."""


def probe_masks(margins: np.ndarray, probes: int) -> np.ndarray:
    """The bits to flip.

    Args:
        margins: (count, K) projections of a query, K ≤ 16, for one table each.
        probes: P ≥ 1, extra buckets; at most 2^K − 1 exist.

    Returns:
        (count, min(P, 2^K − 1)) int32 distinct masks above 0: those of the smallest sums of squares.

    """
    bits = margins.shape[1]
    sets = likely_sets(bits, probes)
    squares = np.square(margins, dtype=np.float64)
    order = np.argsort(squares, axis=1, kind="stable")
    costs = np.take_along_axis(squares, order, 1) @ sets.T
    taken = min(probes, len(sets))
    cheapest = np.argpartition(costs, taken - 1, axis=1)[:, :taken]
    # A set of ranks, as the bits that have these ranks; sums of distinct powers below 2^16 are exact.
    masks = (1 << order).astype(np.float64) @ sets.T
    return np.take_along_axis(masks, cheapest, 1).astype(np.int32)


@lru_cache(maxsize=16)
def likely_sets(bits: int, probes: int) -> np.ndarray:
    """Sets of ranks 0 to K − 1 that can be among the ``probes`` cheapest, (sets, K) of 0 and 1.

    A set is certainly not cheaper than one that it dominates: paired from the largest rank down, no rank of
    the other is larger. It is left out where ``probes`` other sets or more are dominated.
    """
    found: list[tuple[int, ...]] = []
    front: set[tuple[int, ...]] = {(0,)}
    seen = set(front)
    while front:
        kept = {ranks for ranks in front if _dominated(ranks, probes) <= probes}
        found += sorted(kept)
        # Lv's two moves reach every set from (0,), each time from one that it dominates.
        front = {move for ranks in kept for move in _moves(ranks, bits)} - seen
        seen |= front
    sets = np.zeros((len(found), bits))
    for number, ranks in enumerate(found):
        sets[number, list(ranks)] = 1.0
    return sets


def _moves(ranks: tuple[int, ...], bits: int) -> list[tuple[int, ...]]:
    """The largest rank raised by one; and the next rank added."""
    largest = ranks[-1] + 1
    return [] if largest == bits else [(*ranks[:-1], largest), (*ranks, largest)]


def _dominated(ranks: tuple[int, ...], enough: int) -> int:
    """How many sets ``ranks`` dominates, itself included; counting stops above ``enough``."""
    below = {ranks}
    front = [ranks]
    while front and len(below) <= enough:
        for lower in _lowered(front.pop()):
            if lower not in below:
                below.add(lower)
                front.append(lower)
    return len(below)


def _lowered(ranks: tuple[int, ...]) -> list[tuple[int, ...]]:
    """The sets just below: one rank lowered by one, or rank 0 left out."""
    lowered = [ranks[1:]] if ranks[0] == 0 and len(ranks) > 1 else []
    for place, rank in enumerate(ranks):
        if rank > 0 and (place == 0 or ranks[place - 1] < rank - 1):
            lowered.append((*ranks[:place], rank - 1, *ranks[place + 1 :]))
    return lowered
