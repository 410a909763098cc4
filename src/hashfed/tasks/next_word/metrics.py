"""Accuracy and likelihood of the next word under the full softmax."""

from collections.abc import Mapping

import torch

from hashfed.errors import HashfedError
from hashfed.models.batch import Targets
from hashfed.tasks.metrics import Sums
from hashfed.tasks.next_word.vocabulary import OOV, SPECIAL

LARGEST_LOSS = 1e6
"""Nats of one prediction that are believed."""


class NextWordMetrics:
    """Sums over predictions.

    ``words``: predictions whose target is a word of the vocabulary (no special symbol). ``correct``,
    ``top3``: of these, where the target has the highest logit of all n rows, or one of the three highest.
    ``nll``: their summed negative log-likelihood under the full softmax, nats. ``oov``: predictions whose
    target is out of the vocabulary. ``predictions``, ``all_nll``: number and summed negative log-likelihood
    of all, end of sentence and out of vocabulary included.
    """

    def sums(self, logits: torch.Tensor, targets: Targets) -> Sums:
        """See ``Metrics``."""
        chosen = logits.gather(1, targets.rows[:, None])
        nll = torch.logsumexp(logits, dim=1) - chosen.squeeze(1)
        # Ties count against the model, so that equal logits are no success.
        not_below = (logits >= chosen).sum(dim=1)
        word = targets.rows >= len(SPECIAL)
        return {
            "words": int(word.sum()),
            "correct": int((word & (not_below == 1)).sum()),
            "top3": int((word & (not_below <= 3) & (not_below >= 1)).sum()),
            "nll": float(nll[word].sum(dtype=torch.float64)),
            "oov": int((targets.rows == OOV).sum()),
            "predictions": len(targets),
            "all_nll": float(nll.sum(dtype=torch.float64)),
        }

    def metrics(self, sums: Sums) -> dict[str, float]:
        """Means.

        ``accuracy`` masks out-of-vocabulary, padding, end and begin targets (paper, section 4.1);
        ``accuracy_with_oov`` counts an out-of-vocabulary target as wrong.
        """
        found = dict.fromkeys(NAMES, 0) | dict(sums)
        words, known = max(1, found["words"]), max(1, found["words"] + found["oov"])
        return {
            "accuracy": found["correct"] / words,
            "top3_accuracy": found["top3"] / words,
            "nll": found["nll"] / words,
            "accuracy_with_oov": found["correct"] / known,
            "nll_all_targets": found["all_nll"] / max(1, found["predictions"]),
            "oov_rate": found["oov"] / known,
            "targets": found["words"],
        }

    def check(self, sums: Sums, most: int) -> Sums:
        """See ``Metrics``."""
        if set(sums) != set(NAMES):
            odd = sorted(set(sums) ^ set(NAMES))[0]
            raise HashfedError(
                f"sums of predictions: {odd} is in only one of the message and what is asked for"
            )
        predictions = _count(sums, "predictions", most)
        words = _count(sums, "words", predictions)
        top3 = _count(sums, "top3", words)
        return {
            "words": words,
            "correct": _count(sums, "correct", top3),
            "top3": top3,
            "nll": _loss(sums, "nll", words),
            "oov": _count(sums, "oov", predictions - words),
            "predictions": predictions,
            "all_nll": _loss(sums, "all_nll", predictions),
        }


NAMES = ("words", "correct", "top3", "nll", "oov", "predictions", "all_nll")
"""Of the sums."""


def _count(numbers: Mapping[str, float], name: str, most: int) -> int:
    value = numbers[name]
    if not 0 <= value <= most or value != int(value):
        raise HashfedError(f"sums of predictions: {name} = {value}: must be an integer from 0 to {most}")
    return int(value)


def _loss(numbers: Mapping[str, float], name: str, predictions: int) -> float:
    value, most = numbers[name], predictions * LARGEST_LOSS
    least = -1e-3 * predictions  # a loss of nothing may be rounded to less
    if not least <= value <= most:
        raise HashfedError(f"sums of predictions: {name} = {value}: must be from {least:g} to {most:g}")
    return value
