import math
from dataclasses import dataclass
from random import Random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hashfed.retrieval import Candidates, Selection, budget_rows, select

NOBODY = np.empty(0, np.int64)


@dataclass(frozen=True)
class Case:
    """Arguments of ``select``."""

    own: np.ndarray
    candidates: Candidates
    size: int
    budget: int
    tail: float
    seed: int

    def run(self, corrected: bool = True, extra: int = 0) -> Selection:
        rng = np.random.default_rng(self.seed)
        return select(self.own, self.candidates, self.size, self.budget, self.tail, corrected, rng, extra)


@st.composite
def cases(draw: st.DrawFn) -> Case:
    """Arguments of ``select``, with many equal scores."""
    size = draw(st.integers(1, 40))
    ids = st.lists(st.integers(0, size - 1), unique=True)
    own = np.array(draw(ids), np.int64)
    found = np.array(draw(ids), np.int64)
    scores = draw(st.lists(st.integers(1, 4), min_size=len(found), max_size=len(found)))
    return Case(
        own=own,
        candidates=Candidates(found, np.array(scores, np.float64)),
        size=size,
        budget=draw(st.integers(1, size)),
        tail=draw(st.sampled_from([0.0, 1.0]) | st.floats(0, 1)),
        seed=draw(st.integers(0, 2**32)),
    )


def ranked(*ids: int) -> Candidates:
    """Candidates, the best first."""
    return Candidates(np.array(ids, np.int64), np.arange(len(ids), 0, -1, dtype=np.float64))


def equal(*ids: int) -> Candidates:
    """Candidates with equal scores."""
    return Candidates(np.array(ids, np.int64), np.ones(len(ids)))


@given(cases(), st.booleans())
def test_size_is_the_budget_whenever_own_rows_fit(case: Case, corrected: bool) -> None:
    found = case.run(corrected)
    if len(case.own) <= case.budget:
        assert len(found.ids) == case.budget
    elif case.budget < case.size:
        assert found.ids.tolist() == sorted(case.own.tolist())


@given(cases(), st.booleans(), st.integers(0, 5))
def test_own_rows_are_in_and_ids_are_distinct_ascending_and_in_range(
    case: Case, corrected: bool, extra: int
) -> None:
    found = case.run(corrected, extra)
    assert set(case.own.tolist()) <= set(found.ids.tolist())
    assert (np.diff(found.ids) > 0).all()
    assert found.ids.min(initial=0) >= 0
    assert found.ids.max(initial=0) < case.size
    assert found.ids.dtype == np.int64
    assert found.log_weight.shape == found.ids.shape
    assert found.log_weight.dtype == np.float32


@given(cases())
def test_the_whole_budget_is_all_rows_without_correction(case: Case) -> None:
    rng = np.random.default_rng(case.seed)
    found = select(case.own, case.candidates, case.size, case.size, case.tail, True, rng)
    assert found.ids.tolist() == list(range(case.size))
    assert not found.log_weight.any()


@given(cases())
def test_certain_rows_have_no_weight_and_tail_rows_the_inverse_of_their_chance(case: Case) -> None:
    found = case.run()
    if case.budget == case.size:
        return
    tail_ids = found.ids[found.log_weight != 0]
    certain = np.setdiff1d(found.ids, tail_ids)
    room = max(0, case.budget - round(case.tail * case.budget) - len(case.own))
    free = len(np.setdiff1d(case.candidates.ids, case.own))
    assert len(certain) == len(case.own) + min(room, free)
    assert set(certain) <= set(case.own) | set(case.candidates.ids)
    if len(tail_ids):
        expected = math.log((case.size - len(certain)) / len(tail_ids))
        np.testing.assert_allclose(found.log_weight[found.log_weight != 0], expected, rtol=1e-6)


@given(cases(), st.integers(0, 5))
def test_the_correction_changes_weights_but_not_rows(case: Case, extra: int) -> None:
    corrected, plain = case.run(True, extra), case.run(False, extra)
    assert corrected.ids.tolist() == plain.ids.tolist()
    assert not plain.log_weight.any()


@given(cases())
def test_without_tail_the_best_candidates_are_taken(case: Case) -> None:
    found = select(
        case.own, case.candidates, case.size, case.budget, 0.0, True, np.random.default_rng(case.seed)
    )
    score = dict(zip(case.candidates.ids.tolist(), case.candidates.scores.tolist(), strict=True))
    others = set(range(case.size)) - set(case.own.tolist())
    taken = sorted((score.get(row, 0) for row in others & set(found.ids.tolist())), reverse=True)
    best = sorted((score.get(row, 0) for row in others), reverse=True)
    assert taken == best[: len(taken)]


@given(cases(), st.randoms(use_true_random=False))
def test_order_of_own_rows_changes_nothing(case: Case, random: Random) -> None:
    shuffled = case.own.tolist()
    random.shuffle(shuffled)
    rng = np.random.default_rng(case.seed)
    other = select(
        np.array(shuffled, np.int64), case.candidates, case.size, case.budget, case.tail, True, rng
    )
    one = case.run()
    assert other.ids.tolist() == one.ids.tolist()
    assert other.log_weight.tolist() == one.log_weight.tolist()


def test_own_rows_beyond_the_budget_come_alone() -> None:
    own = np.array([9, 2, 5, 7], np.int64)
    found = select(own, ranked(0, 1, 2), 20, 3, 0.5, True, np.random.default_rng(0))
    assert found.ids.tolist() == [2, 5, 7, 9]
    assert found.log_weight.tolist() == [0, 0, 0, 0]


def test_a_candidate_that_is_an_own_row_takes_no_place() -> None:
    own = np.array([3, 4], np.int64)
    found = select(own, ranked(3, 4, 8, 1, 6), 10, 4, 0.0, True, np.random.default_rng(0))
    assert found.ids.tolist() == [1, 3, 4, 8]


def test_higher_scores_come_first() -> None:
    scores = np.array([0.5, 3.0, 2.0, 0.1, 2.5])
    candidates = Candidates(np.array([10, 11, 12, 13, 14]), scores)
    found = select(NOBODY, candidates, 30, 3, 0.0, True, np.random.default_rng(0))
    assert found.ids.tolist() == [11, 12, 14]
    assert not found.log_weight.any()


def test_half_the_budget_for_the_tail() -> None:
    # Budget 10, tail 5, own 2: the three best candidates, and 5 of the other 95 rows.
    own = np.array([50, 51], np.int64)
    found = select(own, ranked(*range(20)), 100, 10, 0.5, True, np.random.default_rng(0))
    tail = found.log_weight != 0
    assert found.ids[~tail].tolist() == [0, 1, 2, 50, 51]
    np.testing.assert_allclose(found.log_weight[tail], [math.log(95 / 5)] * 5, rtol=1e-6)


def test_own_rows_beyond_their_share_eat_into_the_tail() -> None:
    # Budget 10, tail 5, own 8: no candidate, and only 2 tail rows are left of the budget.
    own = np.arange(8)
    found = select(own, ranked(*range(20, 40)), 100, 10, 0.5, True, np.random.default_rng(0))
    tail = found.log_weight != 0
    assert found.ids[~tail].tolist() == list(range(8))
    np.testing.assert_allclose(found.log_weight[tail], [math.log(92 / 2)] * 2, rtol=1e-6)


@pytest.mark.parametrize("tail", [0.0, 0.3])
def test_too_few_candidates_are_padded_with_the_tail(tail: float) -> None:
    found = select(np.array([7]), ranked(1, 2), 100, 10, tail, True, np.random.default_rng(0))
    certain = found.log_weight == 0
    assert found.ids[certain].tolist() == [1, 2, 7]
    np.testing.assert_allclose(found.log_weight[~certain], [math.log(97 / 7)] * 7, rtol=1e-6)


def test_a_whole_tail_takes_no_candidate() -> None:
    found = select(np.array([7]), ranked(*range(50)), 100, 10, 1.0, True, np.random.default_rng(0))
    assert found.ids[found.log_weight == 0].tolist() == [7]
    np.testing.assert_allclose(found.log_weight[found.log_weight != 0], [math.log(99 / 9)] * 9, rtol=1e-6)


def test_extra_candidates_come_beyond_the_budget() -> None:
    own = np.array([50, 51], np.int64)
    found = select(own, ranked(*range(20)), 100, 10, 0.5, True, np.random.default_rng(0), extra=4)
    tail = found.log_weight != 0
    assert found.ids[~tail].tolist() == [0, 1, 2, 3, 4, 5, 6, 50, 51]
    np.testing.assert_allclose(found.log_weight[tail], [math.log(91 / 5)] * 5, rtol=1e-6)


def assert_uniform(counts: np.ndarray, draws: int, taken: int) -> None:
    """Chi-square of how often each of N rows was among ``taken`` drawn without replacement."""
    size = len(counts)
    chance = taken / size
    assert counts.sum() == draws * taken
    statistic = ((counts - draws * chance) ** 2).sum() / (draws * chance * (1 - chance)) * (size - 1) / size
    freedom = size - 1
    assert statistic < freedom + 5 * math.sqrt(2 * freedom)
    assert statistic > freedom - 5 * math.sqrt(2 * freedom)


def test_equal_scores_are_subsampled_uniformly() -> None:
    tied = np.arange(10, 40)
    counts = np.zeros(60, np.int64)
    for seed in range(3000):
        found = select(NOBODY, equal(*tied), 60, 12, 0.0, False, np.random.default_rng(seed))
        counts[found.ids] += 1
    assert counts[:10].sum() == counts[40:].sum() == 0
    assert_uniform(counts[tied], 3000, 12)


def test_only_ties_at_the_threshold_are_subsampled() -> None:
    scores = np.array([5.0] * 4 + [2.0] * 20 + [1.0] * 10)
    candidates = Candidates(np.arange(34), scores)
    counts = np.zeros(60, np.int64)
    for seed in range(3000):
        found = select(NOBODY, candidates, 60, 10, 0.0, False, np.random.default_rng(seed))
        counts[found.ids] += 1
    assert (counts[:4] == 3000).all()
    assert_uniform(counts[4:24], 3000, 6)
    assert counts[24:].sum() == 0


def test_the_tail_is_uniform_over_the_other_rows() -> None:
    counts = np.zeros(40, np.int64)
    for seed in range(3000):
        found = select(np.array([0]), ranked(1, 2, 3, 4), 40, 9, 0.5, False, np.random.default_rng(seed))
        counts[found.ids] += 1
    # Budget 9, tail 4 (half, rounded to even): own row 0, candidates 1 to 4, and 4 of the other 35.
    assert (counts[:5] == 3000).all()
    assert_uniform(counts[5:], 3000, 4)


@pytest.mark.parametrize(
    ("budget", "size", "rows"),
    [(0.1, 10_004, 1000), (1.0, 7, 7), (1e-9, 10, 1), (0.5, 5, 2), (0.26, 10, 3), (0.1, 1, 1)],
)
def test_a_budget_is_a_fraction_of_the_rows(budget: float, size: int, rows: int) -> None:
    assert budget_rows(budget, size) == rows


@given(st.floats(0, 1, exclude_min=True), st.integers(1, 10**6))
def test_a_budget_is_at_least_one_row_and_at_most_all(budget: float, size: int) -> None:
    assert 1 <= budget_rows(budget, size) <= size
