import math
from typing import Any

import pytest

from hashfed.reproduction.device_budget import (
    best_gain,
    device_rows,
    full_row,
    largest_oov_rate,
)
from hashfed.reproduction.paper import GAINS, TABLE2, nearest_vocabulary, paper_row
from hashfed.reproduction.results import RunRow
from reproduced import empty, failed_row, run_row

SIZES: dict[str, Any] = {"experiments": ("table2",), "vocabulary": 10_000}


def larger(method: str, accuracy: float, seed: int = 0, **changes: Any) -> RunRow:
    budget = "0.3" if method == "simhash" else "own+1%"
    given = {"capacity": "ffn", "limit": "parameters", "ffn": 2560, "parameters": 1.8e6, "memory": 3e7}
    return run_row(method, budget, **{**SIZES, **given, "accuracy": accuracy, "seed": seed, **changes})


FULL = [
    run_row(**{**SIZES, "accuracy": accuracy, "seed": seed, "parameters": 1.9e6, "memory": 3.1e7})
    for seed, accuracy in enumerate((0.20, 0.22))
]


def test_gains_are_in_pairs_of_the_same_seed_and_stand_beside_the_papers() -> None:
    runs = (*FULL, larger("simhash", 0.203), larger("simhash", 0.221, 1), larger("planes", 0.23, 1))
    full, simhash, planes = device_rows(empty(vocabularies=(10_000,), runs=runs))
    assert full.accuracy.values == (0.20, 0.22)
    assert full.gain.values == ()
    assert full.paper is TABLE2[0]
    assert simhash.gain.values == pytest.approx((0.3, 0.1))
    assert simhash.gain.mean == pytest.approx(0.2)
    assert simhash.accuracy.deviation == pytest.approx(0.018 / math.sqrt(2))
    assert simhash.paper is TABLE2[1]
    assert (simhash.capacity, simhash.limit, simhash.parameters, simhash.memory) == (
        "ffn",
        "parameters",
        1.8e6,
        3e7,
    )
    assert planes.gain.values == pytest.approx((1.0,))
    assert planes.accuracy.deviation is None
    assert planes.paper is None, "the paper has no such line"


def test_capacities_and_limits_are_lines_of_their_own() -> None:
    runs = (
        larger("planes", 0.2),
        larger("planes", 0.2, limit="memory"),
        larger("planes", 0.2, capacity="blocks", blocks=5),
        *FULL,
        run_row("planes", "0.3", vocabulary=10_000),
    )
    rows = device_rows(empty(vocabularies=(10_000,), runs=runs))
    keys = [(row.method, row.capacity, row.limit) for row in rows]
    ours = [("planes", "ffn", "parameters"), ("planes", "ffn", "memory"), ("planes", "blocks", "parameters")]
    assert keys == [("full", "", ""), *ours]
    assert rows[3].first.blocks == 5


def test_failed_runs_are_in_no_mean() -> None:
    failed = failed_row("planes", "own+1%", **{**SIZES, "capacity": "ffn", "limit": "memory", "seed": 1})
    rows = device_rows(
        empty(vocabularies=(10_000,), runs=(*FULL, larger("planes", 0.21, limit="memory"), failed))
    )
    assert rows[1].gain.values == pytest.approx((1.0,))
    assert rows[1].failed == (failed,)
    assert best_gain(rows, 10_000, "memory") is None
    (only,) = device_rows(empty(vocabularies=(10_000,), runs=(failed,)))
    assert math.isnan(only.accuracy.mean)
    assert math.isnan(only.parameters)
    assert only.first is failed


def test_the_best_gain_needs_no_more_than_full() -> None:
    runs = (
        *FULL,
        larger("planes", 0.21),
        larger("planes", 0.25, limit="memory", memory=3.2e7, parameters=2e6),
        larger("planes", 0.22, limit="memory", memory=3.1e7, parameters=2e6, capacity="blocks"),
    )
    rows = device_rows(empty(vocabularies=(10_000,), runs=runs))
    best = best_gain(rows, 10_000, "memory")
    assert best is not None
    assert best.capacity == "blocks", "measured, the FFN takes more than full has"
    best = best_gain(rows, 10_000, "parameters")
    assert best is not None
    assert best.gain.mean == pytest.approx(1.0)
    assert best_gain(rows[1:], 10_000, "memory") is None
    assert full_row(rows, 30_000) is None


def test_unified_accuracy_is_on_the_words_of_the_largest_vocabulary() -> None:
    small = run_row(**{**SIZES, "accuracy": 0.5, "oov_rate": 0.1})
    large = run_row(**{**SIZES, "vocabulary": 30_000, "accuracy": 0.48, "oov_rate": 0.04})
    found = empty(vocabularies=(10_000, 30_000), runs=(small, large))
    assert largest_oov_rate(found) == 0.04
    first, second = device_rows(found)
    assert first.unified.values == pytest.approx((45 / 96,))
    assert second.unified.values == pytest.approx((0.48,))
    floors = {30_000: {"oov_rate": 0.03}}
    assert largest_oov_rate(empty(vocabularies=(10_000, 30_000), runs=(small,), floors=floors)) == 0.03
    assert math.isnan(largest_oov_rate(empty(vocabularies=(10_000, 30_000))))


def test_the_papers_gains_are_the_differences_of_its_table() -> None:
    for vocabulary, gain in GAINS.items():
        full, hashed = paper_row(vocabulary, "full"), paper_row(vocabulary, "simhash")
        assert full is not None
        assert hashed is not None
        assert round(hashed.accuracy - full.accuracy, 2) == gain
    assert paper_row(30_000, "full") is None
    assert [nearest_vocabulary(size) for size in (400, 10_000, 28_000, 29_000)] == [
        10_000,
        10_000,
        10_000,
        80_000,
    ]
