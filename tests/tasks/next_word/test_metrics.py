import math

import torch

from hashfed.models import PredictionSums, evaluate_logits


def test_metrics_by_hand() -> None:
    # Ids 0 to 3 are special, 4 to 6 words; targets: word right, word second, word last, OOV, EOS.
    logits = torch.tensor(
        [
            [0.0, 0, 0, 0, 5, 1, 0],
            [0.0, 0, 0, 0, 5, 6, 0],
            [4.0, 3, 2, 1, 0, 0, -9],
            [0.0, 9, 0, 0, 0, 0, 0],
            [0.0, 0, 0, 9, 0, 0, 0],
        ]
    )
    targets = torch.tensor([4, 4, 6, 1, 3])
    sums = evaluate_logits(logits, targets, special=4, oov=1)
    nll = -torch.log_softmax(logits, 1)[torch.arange(5), targets]
    assert (sums.words, sums.correct, sums.top3, sums.oov, sums.predictions) == (3, 1, 2, 1, 5)
    metrics = sums.metrics()
    assert metrics["accuracy"] == 1 / 3
    assert metrics["top3_accuracy"] == 2 / 3
    assert metrics["accuracy_with_oov"] == 1 / 4
    assert metrics["oov_rate"] == 1 / 4
    assert math.isclose(metrics["nll"], float(nll[:3].mean()), rel_tol=1e-6)
    assert math.isclose(metrics["nll_all_targets"], float(nll.mean()), rel_tol=1e-6)


def test_equal_logits_are_no_success() -> None:
    sums = evaluate_logits(torch.zeros(2, 9), torch.tensor([4, 8]), special=4, oov=1)
    assert (sums.correct, sums.top3) == (0, 0)


def test_sums_add_up() -> None:
    one = PredictionSums(words=1, correct=1, top3=1, nll=0.5, oov=0, predictions=2, all_nll=1.0)
    two = one + one
    assert two == PredictionSums(words=2, correct=2, top3=2, nll=1.0, oov=0, predictions=4, all_nll=2.0)
