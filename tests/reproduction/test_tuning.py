import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hashfed.reproduction.methods import METHODS
from hashfed.reproduction.scales import PAPER_GRID, SCALES
from hashfed.reproduction.tuning import FAILED, Point, Score, Space, best_point, next_trials

AXES = {"a": (1, 2, 3, 4), "b": (10, 20, 30)}


def point(a: int, b: int) -> Point:
    return (("a", a), ("b", b))


def test_the_grid_is_tried_first_and_then_the_nearest_of_the_best() -> None:
    space = Space(AXES, (point(1, 10), point(2, 10)), trials=6)
    scores: dict[Point, Score] = {}
    assert next_trials(space, scores) == (point(1, 10), point(2, 10))
    scores[point(1, 10)] = Score(0.1, 5.0)
    assert next_trials(space, scores) == (point(2, 10),)
    scores[point(2, 10)] = Score(0.2, 5.0)
    # The edge of the grid won: further along the first axis, in which nothing is known yet.
    assert next_trials(space, scores) == (point(3, 10),)
    scores[point(3, 10)] = Score(0.1, 5.0)
    # From the best forward is tried, backward too: the second axis is next.
    assert next_trials(space, scores) == (point(2, 20),)
    scores[point(2, 20)] = Score(0.3, 5.0)
    assert next_trials(space, scores) == (point(3, 20),)
    scores[point(3, 20)] = FAILED
    assert next_trials(space, scores) == (point(1, 20),)
    scores[point(1, 20)] = Score(0.0, 5.0)
    assert next_trials(space, scores) == ()
    assert best_point(scores) == point(2, 20)


def test_of_equal_accuracies_the_likelier_is_better_and_then_the_earlier() -> None:
    scores = {point(1, 10): Score(0.2, 5.0), point(2, 10): Score(0.2, 4.0), point(3, 10): Score(0.2, 4.0)}
    assert best_point(scores) == point(2, 10)
    assert best_point({point(1, 10): FAILED, point(2, 10): Score(0.0, math.inf)}) == point(2, 10)


@given(st.integers(1, 12), st.randoms(use_true_random=False))
@settings(max_examples=60, deadline=None)
def test_every_method_makes_the_same_number_of_trials_and_none_twice(trials: int, random: object) -> None:
    space = Space(AXES, (point(2, 20), point(3, 20)), trials)
    scores: dict[Point, Score] = {}
    while found := next_trials(space, scores):
        assert not set(found) & set(scores)
        scores |= {one: Score(random.random(), random.random()) for one in found}  # type: ignore[attr-defined]
    assert len(scores) == trials


def test_all_points_are_tried_where_there_are_no_more() -> None:
    space = Space(AXES, (point(1, 10),), trials=100)
    scores: dict[Point, Score] = {}
    while found := next_trials(space, scores):
        scores |= dict.fromkeys(found, FAILED)
    assert len(scores) == 12


def test_the_papers_grid_comes_first_at_its_scale() -> None:
    scale = SCALES["paper"]
    for method in METHODS.values():
        first = next_trials(Space.of(method, scale.grid, scale.trials), {})
        rates = {tuple(dict(one)[name] for name in PAPER_GRID) for one in first}
        assert len(first) == len(rates) == 3 * 3 * 2
        for place, name in enumerate(PAPER_GRID):
            tried = sorted({one[place] for one in rates})
            assert tried == pytest.approx(sorted(PAPER_GRID[name]))


def test_the_papers_hash_also_searches_k_and_l() -> None:
    space = Space.of(METHODS["simhash"], SCALES["small"].grid, 8)
    assert space.axes["retrieval.bits"] == space.axes["retrieval.tables"] == (2, 4, 6, 8)
    assert {dict(one)["retrieval.bits"] for one in space.grid} == {8}


def test_a_rate_that_no_axis_has_is_a_mistake_of_the_program() -> None:
    with pytest.raises(ValueError, match=r"0\.2 is none of"):
        Space.of(METHODS["full"], PAPER_GRID | {"client.learning_rate": (0.2,)}, 5)
