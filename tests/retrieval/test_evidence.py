import math

import numpy as np
import pytest
import torch

from hashfed.errors import HashfedError
from hashfed.retrieval import evidence
from hashfed.retrieval.evidence import softmax_mass, with_prior


def loop(rows: torch.Tensor, queries: torch.Tensor, weights: list[int]) -> list[float]:
    """The definition, one exponential at a time."""
    mass = [0.0] * len(rows)
    for query, weight in zip(queries.tolist(), weights, strict=True):
        powers = [math.exp(sum(a * b for a, b in zip(row, query, strict=True))) for row in rows.tolist()]
        mass = [m + weight * power / sum(powers) for m, power in zip(mass, powers, strict=True)]
    return mass


@pytest.mark.parametrize("chunk", [1, 3, 256])
@pytest.mark.parametrize("weights", [None, [1, 5, 2, 1, 1, 7, 3]])
def test_softmax_mass_is_the_loop(
    chunk: int, weights: list[int] | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(evidence, "CHUNK", chunk)
    generator = torch.Generator().manual_seed(0)
    rows, queries = torch.randn(9, 4, generator=generator), torch.randn(7, 4, generator=generator)
    found = softmax_mass(rows, queries, None if weights is None else np.array(weights))
    assert found.dtype == np.float64
    assert found == pytest.approx(loop(rows, queries, weights or [1] * 7), rel=1e-5)
    assert found.sum() == pytest.approx(sum(weights or [1] * 7))


def test_no_queries_have_no_mass() -> None:
    assert softmax_mass(torch.ones(3, 2), torch.zeros(0, 2)).tolist() == [0, 0, 0]
    assert softmax_mass(torch.ones(3, 2), torch.zeros(0, 2), np.zeros(0, np.int32)).tolist() == [0, 0, 0]


def test_a_query_that_is_not_finite_is_refused() -> None:
    with pytest.raises(HashfedError, match="not finite: the training diverged"):
        softmax_mass(torch.ones(3, 2), torch.tensor([[1.0, math.inf]]))


def test_the_prior_counts_as_so_many_queries() -> None:
    # κ = 8 spread as 1 : 3.
    found = with_prior(np.array([2.0, 1.0, 0.0]), np.array([1, 0, 3]), 8.0)
    assert found.tolist() == [4, 1, 6]


@pytest.mark.parametrize(("prior", "strength"), [([1, 0, 3], 0.0), ([0, 0, 0], 8.0)])
def test_no_prior_leaves_the_evidence(prior: list[int], strength: float) -> None:
    assert with_prior(np.array([2.0, 1.0, 0.0]), np.array(prior), strength).tolist() == [2, 1, 0]


@pytest.mark.parametrize("size", [1, 255, 256, 600])
@pytest.mark.parametrize("count", [1, 5])
def test_tiles_and_chunks_change_nothing_but_rounding(
    size: int, count: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    generator = torch.Generator().manual_seed(size)
    rows, queries = torch.randn(size, 4, generator=generator), torch.randn(count, 4, generator=generator)
    weights = np.arange(1, count + 1)
    whole = softmax_mass(rows, queries, weights)
    monkeypatch.setattr(evidence, "TILE_LOGITS", 1)
    monkeypatch.setattr(evidence, "CHUNK_LOGITS", size * 2)
    assert softmax_mass(rows, queries, weights) == pytest.approx(whole, rel=1e-6)
    assert whole == pytest.approx(loop(rows, queries, weights.tolist()), rel=1e-5)


@pytest.mark.parametrize("level", [-300.0, -70.0, -40.0, 40.0, 68.0, 85.0, 300.0])
def test_logits_of_any_size_have_a_softmax(level: float) -> None:
    generator = torch.Generator().manual_seed(0)
    rows, queries = torch.randn(700, 4, generator=generator), torch.randn(3, 4, generator=generator)
    # One more coordinate raises every logit of the first two queries by the same.
    rows, queries = torch.cat([rows, torch.ones(700, 1)], 1), torch.cat([queries, torch.zeros(3, 1)], 1)
    plain = softmax_mass(rows, queries)
    queries[:2, 4] = level
    assert softmax_mass(rows, queries) == pytest.approx(plain, rel=1e-3)


def test_logits_far_apart_have_a_softmax() -> None:
    rows = torch.tensor([[500.0], [499.0], [-500.0]])
    found = softmax_mass(rows, torch.tensor([[1.0], [-1.0]]))
    assert found == pytest.approx([1 / (1 + math.exp(-1)), 1 / (1 + math.e), 1], rel=1e-5)
