"""P@k, PSP@k and nDCG@k.

``napkinxc.json`` holds label sets (one of them empty), scores without ties, and what napkinxc 0.7.2 makes of
them with ``precision_at_k``, ``psprecision_at_k``, ``ndcg_at_k`` (k = 5) and
``Jain_et_al_inverse_propensity`` (A 0.55, B 1.5) of labels with ``label_counts`` among ``examples`` training
examples.
"""

import json
import math
from collections.abc import Sequence
from itertools import permutations
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from hashfed.errors import HashfedError
from hashfed.models.batch import Targets
from hashfed.tasks.labels.metrics import CUTS, LabelMetrics
from hashfed.tasks.labels.propensities import inverse_propensities
from hashfed.tasks.metrics import add_sums

METRICS = LabelMetrics()
REFERENCE = json.loads((Path(__file__).parent / "napkinxc.json").read_text())


def targets(sets: Sequence[Sequence[int]], gains: np.ndarray | None = None) -> Targets:
    rows = torch.tensor([row for one in sets for row in one], dtype=torch.int64)
    counts = torch.tensor([len(one) for one in sets])
    return Targets(rows, counts, None if gains is None else torch.from_numpy(gains.astype(np.float32))[rows])


def test_by_hand() -> None:
    logits = torch.tensor([[5.0, 4.0, 3.0, 2.0, 1.0, 0.0], [0.0, 1.0, 2.0, 3.0, 4.0, 5.0]])
    gains = np.array([1.0, 2.0, 3.0, 4.0, 5.0, 6.0])
    sums = METRICS.sums(logits, targets([[0, 2, 5], [1]], gains))
    assert sums == pytest.approx(
        {
            "examples": 2,
            "hits_1": 1,
            "hits_3": 2,
            "hits_5": 3,
            "dcg_1": 1,
            "dcg_3": (1 + 0.5) / (1 + 1 / math.log2(3) + 0.5),
            "dcg_5": (1 + 0.5) / (1 + 1 / math.log2(3) + 0.5) + 1 / math.log2(6),
            "gains_1": 1,
            "gains_3": 1 + 3,
            "gains_5": 1 + 3 + 2,
            "most_1": 6 + 2,
            "most_3": 6 + 3 + 1 + 2,
            "most_5": 6 + 3 + 1 + 2,
        }
    )
    found = METRICS.metrics(sums)
    assert found["precision_at_1"] == 0.5
    assert found["precision_at_3"] == pytest.approx(2 / 6)
    assert found["propensity_precision_at_3"] == pytest.approx(4 / 12)
    assert found["targets"] == 2


def test_as_napkinxc_has_it() -> None:
    gains = inverse_propensities(np.array(REFERENCE["label_counts"]), REFERENCE["examples"])
    assert gains == pytest.approx(REFERENCE["inverse_propensities"])
    logits = torch.tensor(REFERENCE["scores"], dtype=torch.float32)
    parts = [
        METRICS.sums(logits[part], targets(REFERENCE["labels"][part], gains))
        for part in (slice(0, 4), slice(4, 5), slice(5, None))
    ]
    found = METRICS.metrics(add_sums(parts))
    for name in ("precision", "propensity_precision", "ndcg"):
        here = [found[f"{name}_at_{k}"] for k in CUTS]
        assert here == pytest.approx([REFERENCE[name][k - 1] for k in CUTS], rel=1e-6)


@pytest.mark.parametrize("seed", range(4))
def test_ties_count_as_the_mean_over_their_orders(seed: int) -> None:
    rng = np.random.default_rng(seed)
    logits = torch.from_numpy(rng.integers(0, 3, (2, 6)).astype(np.float32))
    sets, gains = [[0, 3, 4], [1]], rng.random(6) + 1
    orders = []
    for order in permutations(range(6)):
        # The same logits, told apart by less than their differences.
        nudged = logits + torch.tensor(order, dtype=torch.float32) / 100
        orders.append(METRICS.sums(nudged, targets(sets, gains)))
    found = METRICS.sums(logits, targets(sets, gains))
    for name in found:
        assert found[name] == pytest.approx(np.mean([one[name] for one in orders])), name


def test_equal_scores_are_no_success() -> None:
    found = METRICS.metrics(METRICS.sums(torch.zeros(3, 1000), targets([[0], [1, 2], [999]])))
    assert found["precision_at_1"] == pytest.approx(4 / 3000)


def test_fewer_labels_than_places() -> None:
    found = METRICS.metrics(METRICS.sums(torch.tensor([[1.0, 0.0]]), targets([[1]])))
    assert found["precision_at_5"] == pytest.approx(1 / 5)
    assert found["ndcg_at_5"] == pytest.approx(1 / math.log2(3))


def test_nothing_and_no_numbers() -> None:
    assert set(METRICS.metrics({}).values()) == {0.0}
    assert METRICS.metrics(METRICS.sums(torch.randn(2, 9), targets([[], []])))["precision_at_5"] == 0
    diverged = torch.tensor([[math.nan, 1.0, 2.0]])
    assert math.isnan(METRICS.metrics(METRICS.sums(diverged, targets([[1]])))["precision_at_1"])


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"examples": 3}, "sums of predictions: examples = 3: must be an integer from 0 to 2"),
        ({"examples": 1.5}, "sums of predictions: examples = 1.5: must be an integer from 0 to 2"),
        ({"hits_1": 2.5}, "sums of predictions: hits_1 = 2.5: must be from 0 to 2"),
        ({"hits_3": 0.5}, "sums of predictions: hits_3 = 0.5: must be from 1 to 6"),
        ({"dcg_5": -1}, "sums of predictions: dcg_5 = -1: must be from 0 to 2"),
        ({"gains_3": 99}, "sums of predictions: gains_3 = 99: must be from 1 to "),
        ({"most_5": math.inf}, "sums of predictions: most_5 = inf: must be from "),
        ({"hits_5": math.nan}, "sums of predictions: hits_5 = nan: must be from "),
        ({"recall": 1}, "sums of predictions: recall is in only one of the message and what is asked for"),
    ],
)
def test_sums_from_elsewhere_are_checked(change: dict[str, Any], problem: str) -> None:
    sums = METRICS.sums(torch.tensor([[2.0, 1.0, 0.0], [2.0, 1.0, 0.0]]), targets([[0], [1]]))
    assert METRICS.check(sums, 2) == sums
    with pytest.raises(HashfedError) as caught:
        METRICS.check({**sums, **change}, 2)
    assert str(caught.value).startswith(problem)
