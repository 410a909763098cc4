"""Ranks by hand, and agreement with RecTools on the same scores."""

import math

import numpy as np
import pytest
import torch

from hashfed.errors import HashfedError
from hashfed.models.batch import Targets
from hashfed.tasks.metrics import add_sums
from hashfed.tasks.next_item.metrics import NextItemMetrics

METRICS = NextItemMetrics((1, 3))

RECTOOLS = {
    "hr_1": 0.016666666666666666,
    "hr_5": 0.08333333333333333,
    "hr_10": 0.2833333333333333,
    "hr_20": 0.6666666666666666,
    "ndcg_1": 0.016666666666666666,
    "ndcg_5": 0.04391764551026449,
    "ndcg_10": 0.10682153514785103,
    "ndcg_20": 0.20305532140661883,
    "mrr": 0.09555111760620325,
}
"""RecTools 0.19.0: ``HitRate(k)``, ``NDCG(k, divide_by_achievable=True)`` and ``MRR(k=40)`` of each user's
unseen items in order of the scores below. It needs numpy below 2, so it cannot be asked here."""


def excluded(*rows: list[int]) -> Targets:
    flat = [row for some in rows for row in some]
    return Targets(torch.tensor(flat, dtype=torch.int64), torch.tensor([len(some) for some in rows]))


def measured(logits: list[list[float]], targets: list[int], gone: Targets | None = None) -> dict[str, float]:
    found = METRICS.sums(torch.tensor(logits), Targets(torch.tensor(targets), excluded=gone))
    return METRICS.metrics(found)


def test_it_agrees_with_rectools() -> None:
    rng = np.random.Generator(np.random.PCG64(7))
    scores = rng.standard_normal((60, 40))
    seen = rng.random((60, 40)) < 0.2
    targets = rng.integers(0, 40, 60)
    seen[np.arange(60), targets] = False
    logits = torch.from_numpy(np.pad(scores, ((0, 0), (1, 0)), constant_values=9))  # a first row of no item
    gone = excluded(*((np.flatnonzero(one) + 1).tolist() for one in seen))
    metrics = NextItemMetrics((1, 5, 10, 20))
    sums = metrics.sums(logits, Targets(torch.from_numpy(targets + 1), excluded=gone))
    found = metrics.metrics(sums)
    assert {name: found[name] for name in RECTOOLS} == pytest.approx(RECTOOLS, rel=1e-12)
    assert metrics.check(sums, 60) == sums


def test_ranks_by_hand() -> None:
    """Row 0 is no item; rows 2 and 4 stand before row 1 unless they were had before."""
    logits = [9.0, 1.0, 3.0, 0.0, 2.0]
    assert measured([logits], [1])["hr_3"] == 1
    assert measured([logits], [1])["ndcg_3"] == pytest.approx(1 / math.log2(4))
    assert measured([logits], [1])["mrr"] == pytest.approx(1 / 3)
    assert measured([logits], [1], excluded([2]))["mrr"] == pytest.approx(1 / 2)
    assert measured([logits], [1], excluded([2, 4, 2]))["hr_1"] == 1
    assert measured([logits], [1], excluded([1]))["mrr"] == pytest.approx(
        1 / 3
    )  # a target that was had stays
    nll = math.log(sum(math.exp(x) for x in logits)) - 1
    assert measured([logits], [1], excluded([2]))["nll"] == pytest.approx(nll)


def test_a_tie_is_worth_the_mean_over_its_orders() -> None:
    """Of three equal answers each has a third of the chances; scores that are all the same are chance."""
    found = measured([[0.0, 5.0, 5.0, 5.0, 1.0]], [2])
    assert found["hr_1"] == pytest.approx(1 / 3)
    assert found["hr_3"] == 1
    assert found["ndcg_3"] == pytest.approx((1 + 1 / math.log2(3) + 1 / 2) / 3)
    assert found["mrr"] == pytest.approx((1 + 1 / 2 + 1 / 3) / 3)
    equal = measured([[0.0] * 11], [7])
    assert equal["hr_1"] == pytest.approx(1 / 10)
    assert equal["hr_3"] == pytest.approx(3 / 10)


def test_sums_of_parts_are_those_of_the_whole() -> None:
    logits, targets = torch.randn(7, 12, generator=torch.Generator().manual_seed(0)), torch.arange(1, 8)
    some = Targets(targets, excluded=excluded(*([9 - one, 10] for one in range(7))))
    whole = METRICS.sums(logits, some)
    parts = zip(logits.split(3), some.split(3), strict=True)
    assert add_sums(METRICS.sums(*part) for part in parts) == pytest.approx(whole, rel=1e-6)
    assert set(METRICS.metrics({})) == set(METRICS.metrics(whole))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"targets": 51}, "targets = 51: must be an integer from 0 to 50"),
        ({"targets": 1.5}, "targets = 1.5: must be an integer"),
        ({"hr_1": 3}, "hr_1 = 3: must be from 0 to 2"),
        ({"hr_3": 0.5}, "hr_3 = 0.5: must be from 1 to 2"),
        ({"ndcg_3": 0.1}, "ndcg_3 = 0.1: must be from"),
        ({"mrr": 0}, "mrr = 0: must be from"),
        ({"nll": float("nan")}, "nll = nan"),
        ({"hr_5": 1}, "hr_5 is in only one"),
    ],
)
def test_sums_from_elsewhere_must_be_possible(change: dict[str, float], said: str) -> None:
    sums = METRICS.sums(torch.tensor([[0.0, 1, 2], [0.0, 2, 1]]), Targets(torch.tensor([1, 1])))
    assert METRICS.check(sums, 50) == sums
    with pytest.raises(HashfedError, match=said):
        METRICS.check({**sums, **change}, 50)
