"""What a table of counts achieves on the held-out clients: the floors every model must beat."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np

from hashfed.errors import HashfedError
from hashfed.tasks.federated_data import Client, FederatedData
from hashfed.tasks.next_word.clients import label_counts
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
    size = data.size
    unigram = label_counts(data.train, size).astype(np.float64) + SMOOTHING
    unigram /= unigram.sum()
    previous, following = _pairs(data.held_out)
    known = following >= len(SPECIAL)
    unknown = int(np.sum(following == OOV))
    oov_rate = unknown / max(1, unknown + int(np.sum(known)))
    previous, following = previous[known], following[known]
    if not len(following):
        raise HashfedError("data.source: no word of the held-out clients is in the vocabulary")

    first, second = _pairs(data.train)
    codes, counts = np.unique(first * size + second, return_counts=True)
    contexts, successors = codes // size, codes % size
    context_total = np.bincount(contexts, weights=counts, minlength=size)
    context_types = np.bincount(contexts, minlength=size)
    at = np.minimum(np.searchsorted(codes, previous * size + following), len(codes) - 1)
    seen = np.where(codes[at] == previous * size + following, counts[at], 0)
    total = context_total[previous]
    with np.errstate(divide="ignore", invalid="ignore"):
        discounted = np.maximum(seen - DISCOUNT, 0) / total
        backoff = DISCOUNT * context_types[previous] / total
    bigram = np.where(total > 0, discounted + backoff * unigram[following], unigram[following])

    best_word = len(SPECIAL) + int(np.argmax(unigram[len(SPECIAL) :]))
    best_successor = np.full(size, best_word)
    words = successors >= len(SPECIAL)
    order = np.lexsort((-counts[words], contexts[words]))
    ranked_context = contexts[words][order]
    first_of_context = np.flatnonzero(np.diff(ranked_context, prepend=-1))
    best_successor[ranked_context[first_of_context]] = successors[words][order][first_of_context]
    return Floors(
        unigram_accuracy=float(np.mean(following == best_word)),
        unigram_nll=float(-np.log(unigram[following]).mean()),
        bigram_accuracy=float(np.mean(best_successor[previous] == following)),
        bigram_nll=float(-np.log(bigram).mean()),
        targets=len(following),
        oov_rate=oov_rate,
    )


def _pairs(clients: Sequence[Client]) -> tuple[np.ndarray, np.ndarray]:
    """All (input, target) pairs, int64."""
    inputs = np.concatenate([client.examples.columns()["inputs"].ravel() for client in clients])
    targets = np.concatenate([client.examples.columns()["targets"].ravel() for client in clients])
    used = targets != PAD
    return inputs[used].astype(np.int64), targets[used].astype(np.int64)
