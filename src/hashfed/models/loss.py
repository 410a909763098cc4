"""The metrics of the full softmax."""

from dataclasses import dataclass, fields

import torch


@dataclass(frozen=True)
class PredictionSums:
    """Sums over predictions, to be added up and divided at the end.

    Attributes:
        words: predictions whose target is a word of the vocabulary (no special symbol).
        correct: of these, where the target has the highest logit of all n rows.
        top3: of these, where it is among the three highest.
        nll: their summed negative log-likelihood under the full softmax, nats.
        oov: predictions whose target is out of the vocabulary.
        predictions: all, end of sentence and out of vocabulary included.
        all_nll: summed negative log-likelihood of all.

    """

    words: int = 0
    correct: int = 0
    top3: int = 0
    nll: float = 0.0
    oov: int = 0
    predictions: int = 0
    all_nll: float = 0.0

    def __add__(self, other: "PredictionSums") -> "PredictionSums":
        """Field by field."""
        return PredictionSums(
            *(getattr(self, item.name) + getattr(other, item.name) for item in fields(self))
        )

    def metrics(self) -> dict[str, float]:
        """Means, by the names used in metrics files.

        ``accuracy`` masks out-of-vocabulary, padding, end and begin targets (paper, section 4.1);
        ``accuracy_with_oov`` counts an out-of-vocabulary target as wrong.
        """
        words = max(1, self.words)
        return {
            "accuracy": self.correct / words,
            "top3_accuracy": self.top3 / words,
            "nll": self.nll / words,
            "accuracy_with_oov": self.correct / max(1, self.words + self.oov),
            "nll_all_targets": self.all_nll / max(1, self.predictions),
            "oov_rate": self.oov / max(1, self.words + self.oov),
            "targets": self.words,
        }


def evaluate_logits(logits: torch.Tensor, targets: torch.Tensor, special: int, oov: int) -> PredictionSums:
    """Sums for one batch.

    Args:
        logits: (p, n) over all rows.
        targets: (p,) int64 ids, padding left out.
        special: ids below this are special symbols, not words.
        oov: id of the out-of-vocabulary symbol.

    """
    chosen = logits.gather(1, targets[:, None])
    nll = torch.logsumexp(logits, dim=1) - chosen.squeeze(1)
    # Ties count against the model, so that equal logits are no success.
    not_below = (logits >= chosen).sum(dim=1)
    word = targets >= special
    return PredictionSums(
        words=int(word.sum()),
        correct=int((word & (not_below == 1)).sum()),
        top3=int((word & (not_below <= 3) & (not_below >= 1)).sum()),
        nll=float(nll[word].sum(dtype=torch.float64)),
        oov=int((targets == oov).sum()),
        predictions=len(targets),
        all_nll=float(nll.sum(dtype=torch.float64)),
    )
