import math

import pytest

from hashfed.reproduction.analysis import (
    Spread,
    curve,
    full_runs,
    gaps,
    smallest,
    unified_accuracy,
)
from hashfed.reproduction.results import RunRow
from reproduced import failed_row, run_row

V = 1000


def at(budget: str, *accuracies: float, method: str = "planes", nll: float = 5.0) -> list[RunRow]:
    """Runs of seeds 0, 1, …"""
    return [
        run_row(method, budget, seed=seed, accuracy=accuracy, nll=nll)
        for seed, accuracy in enumerate(accuracies)
    ]


FULL = [run_row(seed=seed, accuracy=accuracy) for seed, accuracy in enumerate((0.20, 0.21))]


def test_a_spread_is_mean_and_sample_deviation() -> None:
    assert Spread((1.0, 2.0, 6.0)).mean == 3.0
    assert Spread((1.0, 2.0, 6.0)).deviation == pytest.approx(math.sqrt((4 + 1 + 9) / 2))
    assert Spread((1.0,)).deviation is None
    assert math.isnan(Spread(()).mean)


def test_a_curve_goes_from_the_smallest_share_and_leaves_failed_runs_out() -> None:
    runs = [*at("0.3", 0.19, 0.21), *at("0.1", 0.15), failed_row("planes", "0.1", seed=1)]
    first, second = curve(runs, V, "planes")
    assert (first.budget, first.share, first.accuracy.values) == ("0.1", 0.1, (0.15,))
    assert [run.seed for run in first.failed] == [1]
    assert (second.budget, second.share, second.failed) == ("0.3", 0.3, ())
    assert second.accuracy.values == (0.19, 0.21)
    assert second.nll.values == (5.0, 5.0)
    assert second.accuracy.mean == pytest.approx(0.2)


def test_a_curve_has_only_runs_of_its_vocabulary_method_and_figure() -> None:
    others = [
        run_row("planes", "0.3", vocabulary=2000),
        run_row("random", "0.3"),
        run_row("planes", "0.3", experiments=("table2",)),
        run_row("planes", "0.3", capacity="ffn", limit="memory"),
    ]
    assert curve(others, V, "planes") == ()


def test_the_share_of_a_failed_budget_is_that_of_others_or_its_label() -> None:
    held = run_row("random", "0.1", rows=110.0)
    (point,) = curve([failed_row("planes", "0.1"), held], V, "planes")
    assert point.share == pytest.approx(0.11)
    (point,) = curve([failed_row("planes", "0.1")], V, "planes")
    assert point.share == 0.1


def test_own_rows_and_others_that_failed_do_not_stand_in_the_way_of_larger_budgets() -> None:
    runs = [*FULL, *at("0.1", 0.2, 0.21), failed_row("planes", "own+1%")]
    own, tenth = curve(runs, V, "planes")
    assert (own.budget, tenth.budget) == ("own+1%", "0.1")
    assert math.isnan(own.share)
    found = smallest(runs, V, "planes")
    assert found.points is not None
    assert found.points.point == tenth


def test_full_runs_are_those_of_the_papers_sizes_with_a_result() -> None:
    runs = [
        *FULL,
        run_row(seed=2, failed="diverged"),
        run_row(seed=3, capacity="ffn"),
        run_row("random", "1", seed=4),
    ]
    assert list(full_runs(runs, V)) == [0, 1]


def test_gaps_are_in_pairs_of_the_same_seed() -> None:
    # Seed 2 has no full run: it is in the curve, but in no pair.
    (gap,) = gaps([*FULL, *at("0.3", 0.199, 0.212, 0.5, nll=5.02)], V, "planes")
    assert gap.seeds == (0, 1)
    assert gap.accuracy.values == pytest.approx((-0.1, 0.2))
    assert gap.accuracy.mean == pytest.approx(0.05)
    assert gap.nll.values == pytest.approx((0.02, 0.02))
    assert len(gap.point.runs) == 3


def test_just_the_tolerance_is_within_it() -> None:
    (gap,) = gaps([*FULL, *at("0.3", 0.1995, 0.2095, nll=5.01)], V, "planes")
    assert gap.within_points
    assert gap.within_nats
    (gap,) = gaps([*FULL, *at("0.3", 0.1994, 0.2094, nll=5.0101)], V, "planes")
    assert not gap.within_points
    assert not gap.within_nats


def test_the_smallest_budget_is_the_last_that_holds_from_the_largest_on() -> None:
    runs = [
        *FULL,
        *at("0.6", 0.2, 0.21),
        *at("0.3", 0.2, 0.21, nll=5.5),
        *at("0.1", 0.19, 0.2),
        *at("0.05", 0.2, 0.21),
    ]
    found = smallest(runs, V, "planes")
    assert [gap.point.budget for gap in found.gaps] == ["0.6", "0.3", "0.1", "0.05"]
    assert found.points is not None
    assert found.points.point.budget == "0.3", "5% holds, but 10% does not"
    assert found.nats is not None
    assert found.nats.point.budget == "0.6"


def test_none_is_small_enough_where_the_largest_is_not() -> None:
    found = smallest([*FULL, *at("0.6", 0.19, 0.2), *at("0.3", 0.2, 0.21)], V, "planes")
    assert found.points is None
    assert found.known


def test_a_budget_of_which_a_run_failed_does_not_count() -> None:
    runs = [
        *FULL,
        *at("0.6", 0.2, 0.21),
        *at("0.3", 0.2),
        failed_row("planes", "0.3", seed=1),
        *at("0.1", 0.2),
    ]
    found = smallest(runs, V, "planes")
    assert found.points is not None
    assert found.points.point.budget == "0.6"
    assert smallest([failed_row("planes", "0.3")], V, "planes").known


def test_nothing_is_known_without_full() -> None:
    found = smallest(at("0.6", 0.2), V, "planes")
    assert not found.known
    assert found.points is None
    assert math.isnan(found.gaps[0].accuracy.mean)


def test_a_diverged_likelihood_is_not_within() -> None:
    (gap,) = gaps([*FULL, *at("0.6", 0.2, 0.21, nll=math.inf)], V, "planes")
    assert gap.within_points
    assert not gap.within_nats


def test_unified_accuracy_counts_words_without_a_row_as_wrong() -> None:
    # Of 100 targets 90 are words of the small vocabulary, 45 of them right; 96 are words of the largest.
    assert unified_accuracy(run_row(accuracy=0.5, oov_rate=0.1), 0.04) == pytest.approx(45 / 96)
    assert unified_accuracy(run_row(accuracy=0.5, oov_rate=0.04), 0.04) == 0.5
