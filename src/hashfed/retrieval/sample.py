"""Draw the rows of a client with chances in proportion to their scores, and correct for the chances.

With inclusion probabilities π_i, Σ exp(logit_i − log π_i) over the drawn rows is an unbiased estimate of
the full layer's partition function (Horvitz & Thompson 1952; sampled softmax: Bengio & Senécal 2008). Its
variance is small where π_i is in proportion to exp(logit_i): the scores estimate just that, the softmax
mass of row i over the client's queries. Compared with the best rows and a uniform tail (``select``), the
rows between head and tail are no longer all or nothing.
"""

import numpy as np

from hashfed.retrieval.protocol import Candidates
from hashfed.retrieval.select import Selection

BLOCK = 31
"""Neighbours that keep their order, whatever the draw. A prime, for ids may have a period."""
TRIES = 9
"""A comb is placed anew where a tooth is within a rounding error of an end: about once in 10^12 draws."""


def sample(
    own: np.ndarray,
    candidates: Candidates,
    size: int,
    budget: int,
    tail: float,
    corrected: bool,
    rng: np.random.Generator,
) -> Selection:
    """Own rows, and others drawn with π_i = min(1, c · s_i), Σ π = budget.

    Args:
        own: (o,) int64 distinct ids that the client's data needs; always selected. Where they exceed
            the budget the selection is just these.
        candidates: the index's answer; scores ≥ 0. A row that is none has score 0.
        size: n, the number of rows.
        budget: rows to select, from 1 to n.
        tail: share of the uniform distribution in s, in [0, 1]: keeps every π_i above zero, and so
            the weights of rows that the scores missed in bounds. With 0, rows of score zero are never
            drawn and their mass is missing, unless too few have a score.
        corrected: log_weight = −log π_i, or 0 (the paper's estimator).
        rng: this client's stream for this round.

    """
    if budget >= size:
        return Selection.all(size)
    chances = inclusion_probabilities(own, candidates, size, budget, tail)
    certain = np.flatnonzero(chances >= 1)
    drawn = _systematic(chances, certain, budget - len(certain), rng)
    ids = np.sort(np.concatenate([certain, drawn]))
    weight = -np.log(chances[ids]) if corrected else np.zeros(len(ids))
    return Selection(ids, weight.astype(np.float32))


def inclusion_probabilities(
    own: np.ndarray, candidates: Candidates, size: int, budget: int, tail: float
) -> np.ndarray:
    """π (n,) float64: 1 on own rows, min(1, c · s_i) elsewhere, Σ π = max(budget, own rows)."""
    room, free = budget - len(own), size - len(own)
    chances = np.zeros(size)
    if room > 0:
        chances[candidates.ids] = candidates.scores
        chances[own] = 0
        total = float(chances.sum())
        share = tail if total > 0 else 1.0
        if share < 1:
            chances /= total / (1 - share)
        else:
            chances[:] = 0
        if share > 0:
            chances += share / free
            chances[own] = 0
        positive = free if share > 0 else int(np.count_nonzero(chances))
        if positive > room:
            _cap(chances, room)
        else:
            # Too few candidates: all of them, padded uniformly (the paper's padding).
            found = chances > 0
            chances[:] = (room - positive) / max(1, free - positive)
            chances[found] = 1
    chances[own] = 1
    return chances


def _cap(scores: np.ndarray, total: int) -> None:
    """Replace ``scores`` by min(1, c · scores), with the c that makes the sum ``total``, in place.

    More than ``total`` of the scores must be above zero.
    """
    # At most ``total`` rows are capped: only so many are sorted.
    parted = np.partition(scores, len(scores) - total)
    rest, falling = float(parted[:-total].sum()), np.sort(parted[-total:])[::-1]
    # With the k largest capped, c = (total − k) / (sum of the others): take the first k whose c caps no more.
    factors = (total - np.arange(total)) / (rest + np.cumsum(falling[::-1])[::-1])
    loose = np.flatnonzero(factors * falling < 1)
    if len(loose) == 0:
        scores[:] = scores >= falling[-1]
    else:
        scores *= factors[loose[0]]
        np.minimum(scores, 1, out=scores)


def _systematic(chances: np.ndarray, certain: np.ndarray, count: int, rng: np.random.Generator) -> np.ndarray:
    """``count`` distinct rows, drawn with inclusion probabilities ``chances`` (n,), none of ``certain``.

    One uniform number places a comb of ``count`` equidistant teeth on the cumulated chances (Madow 1949).
    Rows come in blocks of ``BLOCK`` neighbours, and the blocks in random order: as good as a random order of
    all rows, and a fraction of its time. Where blocks begin is random too.

    Args:
        chances: of all rows; the sum over those that are not certain is ``count``.
        certain: (c,) rows with chance 1, which are left out.
        count: of draws.
        rng: of the draw.

    """
    if count <= 0:
        return np.empty(0, np.int64)
    blocks = len(chances) // BLOCK + 2
    first, order = int(rng.integers(BLOCK)), rng.permutation(blocks)
    padded = np.zeros(blocks * BLOCK)
    padded[first : first + len(chances)] = chances
    padded[first + certain] = 0
    ends = np.zeros(blocks * BLOCK + 1)
    np.cumsum(padded.reshape(blocks, BLOCK)[order].reshape(-1), out=ends[1:])
    ends *= count / ends[-1]
    for _ in range(TRIES):
        before = np.ceil(ends - rng.random())  # how many teeth lie before each end
        block, place = np.divmod(np.flatnonzero(before[1:] != before[:-1]), BLOCK)
        if len(place) == count:
            return np.asarray(order[block] * BLOCK + place - first)
    raise RuntimeError("the chances of the rows do not add up to the number of draws")
