"""What a table of counts achieves on the held-out clients: the floors every model must beat."""

from dataclasses import asdict, dataclass

import numpy as np

from hashfed.errors import HashfedError
from hashfed.tasks.examples import Examples
from hashfed.tasks.federated_data import FederatedData, blocks
from hashfed.tasks.next_word.vocabulary import OOV, PAD, SPECIAL, Vocabulary

DISCOUNT = 0.75
"""Absolute discounting of the bigram counts."""
SMOOTHING = 0.1
"""Added to every unigram count."""


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
        HashfedError: where no held-out word is in the vocabulary.

    The bigram probability is max(c(w₁w₂) − 0.75, 0)/c(w₁) + 0.75·types(w₁)/c(w₁) · unigram(w₂).

    """
    unigram = data.label_counts.astype(np.float64) + SMOOTHING
    unigram /= unigram.sum()
    table = _Bigrams.of(data)
    best_word = len(SPECIAL) + int(np.argmax(unigram[len(SPECIAL) :]))
    best_successor = table.best_successors(best_word)
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
            np.sum(best_successor[previous] == following),
            -np.log(table.probability(previous, following, unigram)).sum(),
        )
    if not targets:
        raise HashfedError("data.source: no word of the held-out clients is in the vocabulary")
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
    """Pairs of neighbours in training.

    Attributes:
        size: n.
        codes: (p,) int64 ascending, first · n + second.
        counts: (p,) int64.

    """

    size: int
    codes: np.ndarray
    counts: np.ndarray

    @classmethod
    def of(cls, data: FederatedData[Vocabulary]) -> "_Bigrams":
        codes, counts = np.empty(0, np.int64), np.empty(0, np.int64)
        for examples in blocks(data.train):
            first, second = _pairs(examples)
            more = np.unique(first * data.size + second, return_counts=True)
            codes, place = np.unique(np.concatenate([codes, more[0]]), return_inverse=True)
            counts = np.bincount(place, np.concatenate([counts, more[1]]), len(codes)).astype(np.int64)
        return cls(data.size, codes, counts)

    def probability(self, previous: np.ndarray, following: np.ndarray, unigram: np.ndarray) -> np.ndarray:
        """Of each pair of held-out neighbours."""
        asked = previous * self.size + following
        at = np.minimum(np.searchsorted(self.codes, asked), len(self.codes) - 1)
        seen = np.where(self.codes[at] == asked, self.counts[at], 0)
        contexts = self.codes // self.size
        total = np.bincount(contexts, weights=self.counts, minlength=self.size)[previous]
        types = np.bincount(contexts, minlength=self.size)[previous]
        with np.errstate(divide="ignore", invalid="ignore"):
            discounted = np.maximum(seen - DISCOUNT, 0) / total
            backoff = DISCOUNT * types / total
        found = np.where(total > 0, discounted + backoff * unigram[following], unigram[following])
        return np.asarray(found)

    def best_successors(self, otherwise: int) -> np.ndarray:
        """(n,) int64: the most frequent word after each row; of equal ones the first."""
        contexts, successors = self.codes // self.size, self.codes % self.size
        found = np.full(self.size, otherwise)
        words = successors >= len(SPECIAL)
        order = np.lexsort((-self.counts[words], contexts[words]))
        ranked = contexts[words][order]
        first = np.flatnonzero(np.diff(ranked, prepend=-1))
        found[ranked[first]] = successors[words][order][first]
        return found


def _pairs(examples: Examples) -> tuple[np.ndarray, np.ndarray]:
    """All (input, target) pairs, int64."""
    columns = examples.columns()
    inputs, targets = columns["inputs"].ravel(), columns["targets"].ravel()
    used = targets != PAD
    return inputs[used].astype(np.int64), targets[used].astype(np.int64)
