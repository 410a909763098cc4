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
    certain = chances >= 1
    others = rng.permutation(np.flatnonzero((chances > 0) & ~certain))
    drawn = _systematic(chances[others], budget - int(certain.sum()), rng)
    ids = np.sort(np.concatenate([np.flatnonzero(certain), others[drawn]]))
    weight = -np.log(chances[ids]) if corrected else np.zeros(len(ids))
    return Selection(ids, weight.astype(np.float32))


def inclusion_probabilities(
    own: np.ndarray, candidates: Candidates, size: int, budget: int, tail: float
) -> np.ndarray:
    """π (n,) float64: 1 on own rows, min(1, c · s_i) elsewhere, Σ π = max(budget, own rows)."""
    chances = np.zeros(size)
    chances[own] = 1
    room = budget - len(own)
    if room <= 0:
        return chances
    scores = np.zeros(size)
    scores[candidates.ids] = candidates.scores
    scores[own] = 0
    total = scores.sum()
    free = np.ones(size, bool)
    free[own] = False
    uniform = free / (size - len(own))
    mixed = (1 - tail) * scores / total + tail * uniform if total > 0 else uniform
    positive = np.flatnonzero(mixed > 0)
    if len(positive) <= room:
        # Too few candidates: all of them, padded uniformly (the paper's padding).
        chances[positive] = 1
        rest = np.flatnonzero(free & (mixed <= 0))
        chances[rest] = (room - len(positive)) / max(1, len(rest))
        return chances
    chances[positive] = _capped(mixed[positive], room)
    return chances


def _capped(scores: np.ndarray, total: int) -> np.ndarray:
    """min(1, c · scores) with the c that makes the sum ``total`` < len(scores)."""
    falling = np.sort(scores)[::-1]
    # With the k largest capped, c = (total − k) / (sum of the others): take the first k whose c caps no more.
    below = np.cumsum(falling[::-1])[::-1]
    factors = (total - np.arange(total)) / below[:total]
    loose = np.flatnonzero(factors * falling[:total] < 1)
    if len(loose) == 0:
        return np.where(scores >= falling[total - 1], 1.0, 0.0)
    first = loose[0]
    return np.asarray(np.minimum(1.0, factors[first] * scores))


def _systematic(chances: np.ndarray, count: int, rng: np.random.Generator) -> np.ndarray:
    """Positions of ``count`` distinct draws with inclusion probabilities ``chances``, which sum to ``count``.

    One uniform number places a comb of ``count`` equidistant teeth on the cumulated chances (Madow 1949).
    """
    if count <= 0:
        return np.empty(0, np.int64)
    ends = np.cumsum(chances)
    ends *= count / ends[-1]
    teeth = rng.random() + np.arange(count)
    drawn = np.searchsorted(ends, teeth, side="right")
    return np.asarray(np.minimum(drawn, len(chances) - 1))
