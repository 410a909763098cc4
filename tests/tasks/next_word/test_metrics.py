import math

import pytest
import torch

from hashfed.errors import HashfedError
from hashfed.models import Targets
from hashfed.tasks.metrics import add_sums
from hashfed.tasks.next_word.metrics import NextWordMetrics

METRICS = NextWordMetrics()


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
    sums = METRICS.sums(logits, Targets(targets))
    nll = -torch.log_softmax(logits, 1)[torch.arange(5), targets]
    counts = [sums[name] for name in ("words", "correct", "top3", "oov", "predictions")]
    assert counts == [3, 1, 2, 1, 5]
    metrics = METRICS.metrics(sums)
    assert metrics["accuracy"] == 1 / 3
    assert metrics["top3_accuracy"] == 2 / 3
    assert metrics["accuracy_with_oov"] == 1 / 4
    assert metrics["oov_rate"] == 1 / 4
    assert math.isclose(metrics["nll"], float(nll[:3].mean()), rel_tol=1e-6)
    assert math.isclose(metrics["nll_all_targets"], float(nll.mean()), rel_tol=1e-6)


def test_equal_logits_are_no_success() -> None:
    sums = METRICS.sums(torch.zeros(2, 9), Targets(torch.tensor([4, 8])))
    assert (sums["correct"], sums["top3"]) == (0, 0)


def test_sums_add_up() -> None:
    one = {"words": 1, "correct": 1, "top3": 1, "nll": 0.5, "oov": 0, "predictions": 2, "all_nll": 1.0}
    two = {"words": 2, "correct": 2, "top3": 2, "nll": 1.0, "oov": 0, "predictions": 4, "all_nll": 2.0}
    assert add_sums([one, one]) == two


def test_the_sums_of_parts_are_those_of_the_whole() -> None:
    draw = torch.Generator().manual_seed(0)
    logits, targets = torch.randn(40, 9, generator=draw), torch.randint(9, (40,), generator=draw)
    whole = METRICS.sums(logits, Targets(targets))
    parts = zip(logits.split(7), Targets(targets).split(7), strict=True)
    assert add_sums(METRICS.sums(*part) for part in parts) == pytest.approx(whole, rel=1e-6)
    assert METRICS.check(whole, 40) == whole


def test_metrics_of_no_prediction() -> None:
    assert set(METRICS.metrics({}).values()) == {0}
    assert (
        METRICS.metrics({}).keys()
        == METRICS.metrics(METRICS.sums(torch.eye(9), Targets(torch.arange(9)))).keys()
    )


GOOD = {"words": 3, "correct": 1, "top3": 2, "nll": 4.0, "oov": 1, "predictions": 5, "all_nll": 6.0}


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("words", 6),
        ("correct", 3),
        ("top3", 4),
        ("oov", 3),
        ("predictions", 9),
        ("words", 2.5),
        ("correct", -1),
        ("nll", math.nan),
        ("nll", 3.1e6),
        ("nll", -1),
        ("all_nll", math.inf),
    ],
)
def test_sums_that_cannot_be_are_refused(name: str, value: float) -> None:
    """More than there can be, less than nothing, or against another."""
    assert METRICS.check(GOOD, 8) == GOOD
    with pytest.raises(HashfedError, match=rf"^sums of predictions: {name} = "):
        METRICS.check(GOOD | {name: value}, 8)


def test_sums_of_another_kind_are_refused() -> None:
    for odd in (GOOD | {"precision": 1.0}, {name: value for name, value in GOOD.items() if name != "oov"}):
        with pytest.raises(HashfedError, match=r"^sums of predictions: (precision|oov) is in only one"):
            METRICS.check(odd, 8)
