"""What a table of counts achieves on the held-out clients: the floors every model must beat."""

from dataclasses import asdict, dataclass
from functools import partial

import numpy as np

from hashfed.tasks.examples import Examples
from hashfed.tasks.federated_data import BLOCK, EmptySideError, FederatedData, blocks
from hashfed.tasks.next_word.vocabulary import OOV, PAD, SPECIAL, Vocabulary

DISCOUNT = 0.75
"""Absolute discounting of the bigram counts."""
SMOOTHING = 0.1
"""Added to every unigram count."""
PAIRS = 1 << 18
"""Pairs that are moved, or whose chances are worked out, at a time."""


@dataclass(frozen=True)
class Floors:
    """Accuracy and mean negative log-likelihood (nats) on in-vocabulary targets.

    The likelihoods are over the same n outcomes as a model's. The accuracies are the best such a table
    can have: it predicts the most frequent *word*, never a special symbol.
    """

    unigram_accuracy: float
    unigram_nll: float
    bigram_accuracy: float
    bigram_nll: float
    targets: int
    oov_rate: float

    def to_dict(self) -> dict[str, float]:
        """For JSON."""
        return asdict(self)


def measure_floors(data: FederatedData[Vocabulary]) -> Floors:
    """Unigram and bigram counts of the training clients, scored on the held-out clients.

    Raises:
        EmptySideError: where no held-out word is in the vocabulary.

    The bigram probability is max(c(w₁w₂) − 0.75, 0)/c(w₁) + 0.75·types(w₁)/c(w₁) · unigram(w₂).

    """
    unigram = data.label_counts.astype(np.float64) + SMOOTHING
    unigram /= unigram.sum()
    best_word = len(SPECIAL) + int(np.argmax(unigram[len(SPECIAL) :]))
    table = _Bigrams.of(data, best_word)
    sums, unknown = np.zeros(4), 0
    targets = 0
    for examples in blocks(data.held_out):
        previous, following = _pairs(examples)
        unknown += int(np.sum(following == OOV))
        known = following >= len(SPECIAL)
        previous, following = previous[known], following[known]
        targets += len(following)
        sums += (
            np.sum(following == best_word),
            -np.log(unigram[following]).sum(),
            np.sum(table.best[previous] == following),
            -np.log(table.probability(previous, following, unigram)).sum(),
        )
    if not targets:
        raise EmptySideError("data.source: no word of the held-out clients is in the vocabulary")
    unigram_accuracy, unigram_nll, bigram_accuracy, bigram_nll = (sums / targets).tolist()
    return Floors(
        unigram_accuracy=unigram_accuracy,
        unigram_nll=unigram_nll,
        bigram_accuracy=bigram_accuracy,
        bigram_nll=bigram_nll,
        targets=targets,
        oov_rate=unknown / (unknown + targets),
    )


@dataclass(frozen=True)
class _Bigrams:
    """Pairs of neighbours in training: tens of millions of large data, so arrays are as narrow as can be.

    Attributes:
        size: n.
        codes: (p,) ascending, first · n + second.
        counts: (p,) how often each occurs.
        total: (n,) float64: how often each row is a first one.
        types: (n,) int64: how many different ones come after it.
        best: (n,) int64: the most frequent word after it; of equal ones the first.

    """

    size: int
    codes: np.ndarray
    counts: np.ndarray
    total: np.ndarray
    types: np.ndarray
    best: np.ndarray

    @classmethod
    def of(cls, data: FederatedData[Vocabulary], otherwise: int) -> "_Bigrams":
        """Those of ``data``; ``otherwise`` is the best after a row that no word comes after."""
        size, pairs = data.size, int(data.label_counts.sum())
        codes = np.empty(0, np.uint32 if size**2 <= np.iinfo(np.uint32).max + 1 else np.int64)
        counts = np.empty(0, np.uint32 if pairs <= np.iinfo(np.uint32).max else np.int64)
        # Of a block no more than its codes is held when they are added.
        for block in map(partial(_codes, size=size, dtype=codes.dtype), blocks(data.train)):
            more, often = np.unique(block, return_counts=True)
            _add(codes, counts, more, often.astype(counts.dtype))
        total, types = np.zeros(size), np.zeros(size, np.int64)
        best, most = np.full(size, otherwise), np.zeros(size, np.int64)
        for start in range(0, len(codes), BLOCK):
            some, each = codes[start : start + BLOCK].astype(np.int64), counts[start : start + BLOCK]
            contexts, successors = some // size, some % size
            total += np.bincount(contexts, weights=each, minlength=size)
            types += np.bincount(contexts, minlength=size)
            words = successors >= len(SPECIAL)
            contexts, successors = contexts[words], successors[words]
            times = np.asarray(each[words], np.int64)
            order = np.lexsort((-times, contexts))
            order = order[np.flatnonzero(np.diff(contexts[order], prepend=-1))]  # the first of each context
            order = order[times[order] > most[contexts[order]]]
            best[contexts[order]], most[contexts[order]] = successors[order], times[order]
        return cls(size, codes, counts, total, types, best)

    def probability(self, previous: np.ndarray, following: np.ndarray, unigram: np.ndarray) -> np.ndarray:
        """Of each pair of held-out neighbours."""
        found = np.empty(len(previous))
        for start in range(0, len(found), PAIRS):
            some = slice(start, start + PAIRS)
            found[some] = self._probability(previous[some], following[some], unigram)
        return found

    def _probability(self, previous: np.ndarray, following: np.ndarray, unigram: np.ndarray) -> np.ndarray:
        asked = (previous * self.size + following).astype(self.codes.dtype)
        at = np.minimum(np.searchsorted(self.codes, asked), len(self.codes) - 1)
        seen = np.where(self.codes[at] == asked, self.counts[at], 0)
        total, types = self.total[previous], self.types[previous]
        with np.errstate(divide="ignore", invalid="ignore"):
            discounted = np.maximum(seen - DISCOUNT, 0) / total
            backoff = DISCOUNT * types / total
        found = np.where(total > 0, discounted + backoff * unigram[following], unigram[following])
        return np.asarray(found)


def _codes(examples: Examples, size: int, dtype: np.dtype) -> np.ndarray:
    first, second = _pairs(examples)
    first *= size
    first += second
    return first.astype(dtype)


def _add(codes: np.ndarray, counts: np.ndarray, more: np.ndarray, times: np.ndarray) -> None:
    """Put codes, and how often each occurs, into those that are there, ascending too, which grow in place.

    Neither are all sorted again, nor are there ever two tables.
    """
    there = len(codes)
    at = np.searchsorted(codes, more)
    new = np.ones(len(more), bool)
    new[at < there] = codes[at[at < there]] != more[at < there]
    counts[at[~new]] += times[~new]
    at = at[new]
    for values, others in ((codes, more), (counts, times)):
        values.resize(there + len(at), refcheck=False)
        # From the end, so that none is written over before it has moved: by as many as come before it.
        for start in range((there - 1) // PAIRS * PAIRS, -1, -PAIRS):
            moved = np.arange(start, min(start + PAIRS, there))
            values[moved + np.searchsorted(at, moved, "right")] = values[moved]
        values[at + np.arange(len(at))] = others[new]


def _pairs(examples: Examples) -> tuple[np.ndarray, np.ndarray]:
    """All (input, target) pairs, int64."""
    columns = examples.columns()
    inputs, targets = columns["inputs"].ravel(), columns["targets"].ravel()
    used = targets != PAD
    return inputs[used].astype(np.int64), targets[used].astype(np.int64)
