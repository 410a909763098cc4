import math
from typing import Any

import pytest

from hashfed.reproduction.claims import Claim, claims
from hashfed.reproduction.results import RunRow
from reproduced import empty, failed_row, run_row

FULL = run_row(accuracy=0.2)


def at(method: str, budget: str, accuracy: float, **changes: Any) -> RunRow:
    return run_row(method, budget, accuracy=accuracy, **changes)


def claim(start: str, *runs: RunRow, **changes: Any) -> Claim:
    """The only claim whose text starts so."""
    (found,) = (one for one in claims(empty(runs=runs, **changes)) if one.text.startswith(start))
    return found


def test_hashing_against_random() -> None:
    better = (at("simhash", "0.1", 0.18), at("simhash", "0.3", 0.19), at("simhash", "0.6", 0.2))
    random = (at("random", "0.1", 0.17), at("random", "0.3", 0.188))
    found = claim("Hashing is better", *random, *better)
    assert found.holds is True
    assert [name for name, _ in found.numbers] == ["0.1", "0.3"], "budgets that both have"
    assert [number for _, number in found.numbers] == pytest.approx([1.0, 0.2])
    assert claim("Hashing is better", *random, better[0], at("simhash", "0.3", 0.18)).holds is False
    assert claim("Hashing is better", *random).holds is None


def test_a_failed_run_of_hashing_is_no_agreement() -> None:
    runs = (at("random", "0.1", 0.17), at("random", "0.3", 0.188), at("simhash", "0.3", 0.19))
    found = claim("Hashing is better", *runs, failed_row("simhash", "0.1"))
    assert found.holds is False
    assert math.isnan(dict(found.numbers)["0.1"])


def test_hashing_as_good_as_full_from_30_percent() -> None:
    runs = (
        FULL,
        at("simhash", "0.1", 0.1),
        at("simhash", "0.3", 0.1996, rows=299.0),
        at("simhash", "0.6", 0.21),
    )
    found = claim("From 30%", *runs)
    assert found.holds is True
    assert dict(found.numbers) == pytest.approx({"0.3": -0.04, "0.6": 1.0})
    assert claim("From 30%", FULL, at("simhash", "0.3", 0.1994)).holds is False
    assert claim("From 30%", FULL, at("simhash", "0.1", 0.2)).holds is None, "no budget of 30% or more"
    assert claim("From 30%", at("simhash", "0.3", 0.2)).holds is None, "no full run"


def test_exact_search_against_hashing() -> None:
    runs = (at("simhash", "0.1", 0.18), at("mips", "0.1", 0.179))
    assert claim("Exact maximum", *runs).holds is False
    assert claim("Exact maximum", runs[0], at("mips", "0.1", 0.181)).holds is True


def test_hashing_gains_with_the_vocabulary() -> None:
    def both(vocabulary: int, gain: float) -> tuple[RunRow, RunRow]:
        hashed = at("simhash", "0.1", 0.18 + gain, vocabulary=vocabulary)
        return hashed, at("random", "0.1", 0.18, vocabulary=vocabulary)

    two = {"vocabularies": (1000, 3000)}
    start = "Hashing is marginally"
    assert claim(start, *both(1000, 0.01), *both(3000, 0.02), **two).holds is True
    assert claim(start, *both(1000, 0.02), *both(3000, 0.01), **two).holds is False
    assert claim(start, *both(1000, -0.02), *both(3000, -0.01), **two).holds is False, "no gain at all"
    assert claim(start, *both(1000, 0.02), **two).holds is None
    assert not any(one.text.startswith(start) for one in claims(empty(runs=both(1000, 0.1))))


def test_table_2() -> None:
    def pair(vocabulary: int, gain: float, **changes: Any) -> tuple[RunRow, RunRow]:
        place: dict[str, Any] = {"vocabulary": vocabulary, "experiments": ("table2",)}
        larger = {"capacity": "ffn", "limit": "parameters", "ffn": 2560, **changes}
        return run_row(accuracy=0.2, **place), at("simhash", "0.3", 0.2 + gain, **place, **larger)

    asked = {"experiments": ("table2",), "vocabularies": (1000, 3000)}
    runs = (*pair(1000, 0.001), *pair(3000, 0.004))
    found = {one.text[:12]: one for one in claims(empty(runs=runs, **asked)) if one.vocabulary != 1000}
    assert dict(found["With 30% of "].numbers) == pytest.approx({"FFN 2,560": 0.4})
    assert found["With 30% of "].holds is True
    assert found["That gain is"].holds is True
    assert "+0.18 points at 10K and +0.79 points at 80K" in found["That gain is"].text
    assert found["The full mod"].holds is False, "the same accuracy and out-of-vocabulary rate"
    assert dict(found["The full mod"].numbers) == pytest.approx({"1,000 words": 20.0, "3,000 words": 20.0})
    other = claims(empty(runs=pair(1000, 0.01, limit="memory"), experiments=("table2",)))
    assert [one.holds for one in other] == [None], "the paper's limit is the parameters"


def test_nothing_is_claimed_of_what_was_not_asked_for() -> None:
    assert claims(empty(experiments=("table1", "buckets"), runs=(FULL,))) == ()
