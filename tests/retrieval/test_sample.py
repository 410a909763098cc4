"""Rows drawn in proportion to scores: chances, sizes and the unbiased partition function (laws 6 and 7)."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hashfed.retrieval import Candidates, Selection
from hashfed.retrieval.sample import _systematic, inclusion_probabilities, sample

Z = 5
"""Width of the confidence intervals: an honest sample leaves one about once in a million."""


def test_chances_by_hand() -> None:
    # Row 0 is the client's own. Four more are to be drawn from scores 6, 2, 1, 1, 0, 0 (rows 1 to 6).
    candidates = Candidates(np.array([1, 2, 3, 4]), np.array([60.0, 2.0, 1.0, 1.0]))
    chances = inclusion_probabilities(np.array([0]), candidates, 7, budget=3, tail=0.0)
    # Row 1 is certain; the one place left is shared 2 : 1 : 1.
    np.testing.assert_allclose(chances, [1, 1, 0.5, 0.25, 0.25, 0, 0])
    # With tail 1 all six others are equal.
    chances = inclusion_probabilities(np.array([0]), candidates, 7, budget=4, tail=1.0)
    np.testing.assert_allclose(chances, [1, *[0.5] * 6])


def test_capping_goes_on_until_no_chance_exceeds_one() -> None:
    candidates = Candidates(np.arange(5), np.array([100.0, 10.0, 1.0, 0.5, 0.5]))
    chances = inclusion_probabilities(np.empty(0, np.int64), candidates, 5, budget=3, tail=0.0)
    np.testing.assert_allclose(chances, [1, 1, 0.5, 0.25, 0.25])


def test_too_few_candidates_are_all_taken_and_padded_uniformly() -> None:
    candidates = Candidates(np.array([2, 5]), np.array([3.0, 1.0]))
    chances = inclusion_probabilities(np.array([0]), candidates, 9, budget=6, tail=0.0)
    np.testing.assert_allclose(chances, [1, 0.5, 1, 0.5, 0.5, 1, 0.5, 0.5, 0.5])


@st.composite
def problems(draw: st.DrawFn) -> tuple[np.ndarray, Candidates, int, int, float, int]:
    size = draw(st.integers(1, 60))
    rng = np.random.default_rng(draw(st.integers(0, 10**6)))
    own = rng.choice(size, draw(st.integers(0, size)), replace=False)
    ids = np.sort(rng.choice(size, draw(st.integers(0, size)), replace=False))
    kind = draw(st.sampled_from(["normal", "equal", "steep"]))
    scores = {
        "normal": rng.random(len(ids)),
        "equal": np.ones(len(ids)),
        "steep": np.exp(rng.normal(0, 8, len(ids))),
    }[kind]
    tail = draw(st.sampled_from([0.0, 0.1, 0.5, 1.0]))
    return (
        np.sort(own),
        Candidates(ids, scores),
        size,
        draw(st.integers(1, size)),
        tail,
        draw(st.integers(0, 99)),
    )


@given(problems())
def test_the_budget_is_met_and_own_rows_are_in(
    problem: tuple[np.ndarray, Candidates, int, int, float, int],
) -> None:
    own, candidates, size, budget, tail, seed = problem
    found = sample(own, candidates, size, budget, tail, True, np.random.default_rng(seed))
    assert len(found.ids) == max(budget, len(own))
    assert (np.diff(found.ids) > 0).all()
    assert found.ids.min() >= 0
    assert found.ids.max() < size
    assert set(own.tolist()) <= set(found.ids.tolist())
    weights = dict(zip(found.ids.tolist(), found.log_weight.tolist(), strict=True))
    assert all(weights[row] == 0 for row in own.tolist())
    assert (found.log_weight >= 0).all()
    assert np.isfinite(found.log_weight).all()


@given(problems())
def test_chances_sum_to_the_budget_and_follow_the_scores(
    problem: tuple[np.ndarray, Candidates, int, int, float, int],
) -> None:
    own, candidates, size, budget, tail, _ = problem
    chances = inclusion_probabilities(own, candidates, size, budget, tail)
    assert chances.min() >= 0
    assert chances.max() <= 1 + 1e-12
    np.testing.assert_allclose(chances.sum(), max(budget, len(own)), rtol=1e-9)
    scores = np.zeros(size)
    scores[candidates.ids] = candidates.scores
    others = np.setdiff1d(np.arange(size), own)
    order = others[np.argsort(scores[others], kind="stable")]
    assert (np.diff(chances[order]) >= -1e-9).all()


@pytest.mark.parametrize("tail", [0.0, 0.1, 0.5, 1.0])
def test_rows_are_drawn_with_their_chances_and_the_partition_function_is_unbiased(tail: float) -> None:
    size, budget, draws = 40, 12, 6000
    rng = np.random.default_rng(5)
    logits = rng.normal(0, 1.5, size)
    own = np.array([3, 20])
    candidates = Candidates(np.arange(size), np.exp(logits + rng.normal(0, 0.7, size)))
    chances = inclusion_probabilities(own, candidates, size, budget, tail)
    counts, estimates = np.zeros(size), np.empty(draws)
    for draw in range(draws):
        found = sample(own, candidates, size, budget, tail, True, np.random.default_rng(draw))
        counts[found.ids] += 1
        estimates[draw] = np.exp(logits[found.ids] + found.log_weight).sum()
    deviation = np.sqrt(np.maximum(chances * (1 - chances), 1e-12) / draws)
    assert (np.abs(counts / draws - chances) <= Z * deviation + 1e-9).all()
    error = abs(estimates.mean() - np.exp(logits).sum())
    assert error <= Z * estimates.std() / np.sqrt(draws)


def test_good_scores_make_the_estimate_nearly_exact() -> None:
    # With scores = exp(logit) and no own rows every drawn row contributes the same.
    logits = np.random.default_rng(0).normal(0, 1, 500)
    candidates = Candidates(np.arange(500), np.exp(logits))
    found = sample(np.empty(0, np.int64), candidates, 500, 50, 0.0, True, np.random.default_rng(1))
    estimate = np.exp(logits[found.ids] + found.log_weight).sum()
    np.testing.assert_allclose(estimate, np.exp(logits).sum(), rtol=1e-5)


def test_without_correction_no_logit_is_raised() -> None:
    candidates = Candidates(np.arange(20), np.arange(20.0))
    found = sample(np.array([1]), candidates, 20, 5, 0.1, False, np.random.default_rng(1))
    assert not found.log_weight.any()


def test_a_budget_of_all_rows_is_all_rows() -> None:
    for budget, tail in itertools.product([6, 7], [0.0, 1.0]):
        found = sample(np.array([2]), Candidates.none(), 6, budget, tail, True, np.random.default_rng(0))
        assert isinstance(found, Selection)
        assert found.ids.tolist() == list(range(6))
        assert not found.log_weight.any()


@pytest.mark.parametrize("size", [16, 17, 400, 5000])
@pytest.mark.parametrize("tail", [0.0, 0.2])
def test_steep_and_tiny_scores_still_fill_the_budget(size: int, tail: float) -> None:
    rng = np.random.default_rng(size)
    for power, unit in itertools.product([0.1, 3, 30, 300], [1e-300, 1e-38, 1.0, 1e250]):
        scores = np.maximum(rng.random(size) ** power, 1e-200) * unit
        scores = np.maximum(scores, 1e-320)
        candidates = Candidates(np.arange(size), scores)
        own = rng.choice(size, size // 20, replace=False)
        for budget in (size // 20 + 1, size // 2, size - 1):
            chances = inclusion_probabilities(own, candidates, size, budget, tail)
            np.testing.assert_allclose(chances.sum(), budget, rtol=1e-9)
            found = sample(own, candidates, size, budget, tail, True, rng)
            assert len(np.unique(found.ids)) == budget
            assert (chances[found.ids] > 0).all()


def independent(
    own: np.ndarray, candidates: Candidates, size: int, budget: int, rng: np.random.Generator
) -> np.ndarray:
    """Ids with the same chances, drawn by a comb over a wholly random order of the rows."""
    chances = inclusion_probabilities(own, candidates, size, budget, 0.1)
    order = rng.permutation(size)
    ends = np.cumsum(chances[order])
    return order[np.searchsorted(ends * (budget / ends[-1]), rng.random() + np.arange(budget))]


@pytest.mark.parametrize("scores", ["good", "equal", "few"])
@pytest.mark.parametrize("ordered", [False, True])
def test_a_random_order_of_blocks_is_as_good_as_one_of_rows(scores: str, ordered: bool) -> None:
    """The partition function varies no more than with a random order of all rows, also of sorted rows."""
    size, budget, draws = 3000, 300, 1500
    rng = np.random.default_rng(7)
    logits = rng.normal(0, 1.5, size)
    if ordered:
        logits = np.sort(logits)[::-1]
    noisy = {
        "good": np.exp(logits + rng.normal(0, 1, size)),
        "equal": np.ones(size),
        "few": np.where(rng.random(size) < 0.4, 1.0, 5.0),
    }
    own, candidates = np.array([3, 20]), Candidates(np.arange(size), noisy[scores])
    chances = inclusion_probabilities(own, candidates, size, budget, 0.1)
    ours, reference = np.empty(draws), np.empty(draws)
    for draw in range(draws):
        found = sample(own, candidates, size, budget, 0.1, True, rng)
        ours[draw] = np.exp(logits[found.ids] + found.log_weight).sum()
        ids = independent(own, candidates, size, budget, rng)
        reference[draw] = (np.exp(logits[ids]) / chances[ids]).sum()
    # The standard deviation of a sample has a relative error of about 1 / √(2 · draws), here 2%.
    assert ours.std() < 1.1 * reference.std()
    assert abs(ours.mean() - np.exp(logits).sum()) < Z * ours.std() / np.sqrt(draws)


def test_chances_that_do_not_add_up_are_a_bug() -> None:
    with pytest.raises(RuntimeError, match="do not add up"):
        _systematic(np.array([2.0, 0.0]), np.empty(0, np.int64), 2, np.random.default_rng(0))
