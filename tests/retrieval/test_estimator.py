"""Law 6: the partition function that a client computes on its selection is an unbiased estimate."""

import itertools
import math
from collections.abc import Iterator
from typing import cast

import numpy as np
import pytest

from hashfed.retrieval import Candidates, Selection, select

SIZE = 60
Z = 5
"""Width of the confidence intervals: an honest sample leaves one about once in a million."""


def example() -> tuple[np.ndarray, np.ndarray, Candidates]:
    """Logits, own rows, and candidates whose scores follow the logits with noise, some of them equal."""
    rng = np.random.default_rng(3)
    logits = rng.normal(0, 1.5, SIZE)
    noisy = np.round(np.exp(logits + rng.normal(0, 0.5, SIZE)))
    return logits, np.array([4, 17, 30]), Candidates.positive(noisy)


def partition(logits: np.ndarray, selection: Selection) -> float:
    """Σ exp(logit + log_weight) over the selection."""
    return float(np.exp(logits[selection.ids] + selection.log_weight.astype(np.float64)).sum())


def estimates(budget: int, tail: float, corrected: bool, draws: int = 4000) -> np.ndarray:
    """The partition function on many selections."""
    logits, own, candidates = example()
    streams = (np.random.default_rng(seed) for seed in range(draws))
    return np.array(
        [partition(logits, select(own, candidates, SIZE, budget, tail, corrected, rng)) for rng in streams]
    )


@pytest.mark.parametrize("budget", [12, 30])
@pytest.mark.parametrize("tail", [0.1, 0.25, 0.5, 1.0])
def test_the_corrected_partition_function_is_unbiased(budget: int, tail: float) -> None:
    found = estimates(budget, tail, corrected=True)
    truth = np.exp(example()[0]).sum()
    error = found.std(ddof=1) / math.sqrt(len(found))
    assert error < 0.05 * truth
    assert abs(found.mean() - truth) < Z * error


@pytest.mark.parametrize("tail", [0.0, 0.25, 0.5, 1.0])
def test_the_paper_s_partition_function_is_always_too_small(tail: float) -> None:
    found = estimates(12, tail, corrected=False, draws=500)
    truth = np.exp(example()[0]).sum()
    assert found.max() < truth
    assert found.mean() < 0.9 * truth


def test_a_tail_beside_the_right_candidates_varies_less_than_a_uniform_draw() -> None:
    assert estimates(30, 0.5, corrected=True, draws=1000).std() < (
        0.7 * estimates(30, 1.0, corrected=True, draws=1000).std()
    )


class Enumerated:
    """In place of a random stream: takes the draws that ``path`` says, and notes how many there were."""

    def __init__(self, path: list[int]) -> None:
        self.path = path
        self.branches: list[int] = []

    def choice(self, options: np.ndarray, count: int, replace: bool, shuffle: bool) -> np.ndarray:
        """One of all subsets of ``count`` options."""
        assert not replace
        subsets = list(itertools.combinations(options.tolist(), count))
        step = len(self.branches)
        self.branches.append(len(subsets))
        return np.array(subsets[self.path[step] if step < len(self.path) else 0], np.int64)


def all_selections(
    own: np.ndarray, candidates: Candidates, size: int, budget: int, tail: float
) -> Iterator[tuple[float, Selection]]:
    """Every corrected selection that ``select`` can make, with its chance."""
    path: list[int] = []
    while True:
        draws = Enumerated(path)
        rng = cast(np.random.Generator, draws)
        selection = select(own, candidates, size, budget, tail, True, rng)
        yield 1 / math.prod(draws.branches), selection
        path += [0] * (len(draws.branches) - len(path))
        while path and path[-1] == draws.branches[len(path) - 1] - 1:
            path.pop()
        if not path:
            return
        path[-1] += 1


TINY = [
    (size, own, budget, tail)
    for size in (3, 5, 6)
    for own in ((), (1,), (0, 2))
    for budget in range(len(own) + 1, size + 1)
    for tail in (0.3, 0.5, 1.0)
]


@pytest.mark.parametrize(("size", "own", "budget", "tail"), TINY)
def test_over_all_possible_draws_the_mean_is_exact(
    size: int, own: tuple[int, ...], budget: int, tail: float
) -> None:
    logits = np.random.default_rng(size).normal(0, 2, size)
    candidates = Candidates(np.arange(size), np.array([2.0, 1.0, 1.0, 1.0, 3.0, 1.0][:size]))
    chances, values, weighted = [], [], False
    for chance, selection in all_selections(np.array(own, np.int64), candidates, size, budget, tail):
        chances.append(chance)
        values.append(partition(logits, selection))
        weighted |= bool(selection.log_weight.any())
    truth = np.exp(logits).sum()
    assert math.fsum(chances) == pytest.approx(1)
    mean = float(np.dot(chances, values))
    if weighted or budget == size:
        assert mean == pytest.approx(truth, rel=1e-6)
    else:  # the tail's share of so small a budget rounds to no row
        assert round(tail * budget) == 0
        assert mean < truth
