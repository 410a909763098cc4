"""Both sketches of queries: ``query-codes`` and ``query-centroids``."""

import math

import numpy as np
import pytest
import torch

from hashfed.errors import HashfedError
from hashfed.retrieval import Index, Keys, build_index, retrieval_settings
from small import fitting

SIZE, DIMENSION, SEED = 50, 16, 3
METHODS = ["query-codes", "query-centroids"]


def rows() -> torch.Tensor:
    return torch.randn(SIZE, DIMENSION, generator=torch.Generator().manual_seed(0))


def queries(count: int = 12) -> torch.Tensor:
    return torch.randn(count, DIMENSION, generator=torch.Generator().manual_seed(1))


def prior() -> np.ndarray:
    return np.random.default_rng(2).integers(0, 30, SIZE)


def index_of(method: str, **more: object) -> Index:
    small = fitting(method, prior_strength=0, code_bits=4)
    settings = retrieval_settings(**{**small, **more})
    return build_index(rows(), settings, prior(), SEED)


def mass(index: Index, queries: torch.Tensor) -> np.ndarray:
    """The score of every row, zero where it is no candidate."""
    found = index.lookup(index.encoder.encode(queries))
    scores = np.zeros(SIZE)
    scores[found.ids] = found.scores
    return scores


@pytest.mark.parametrize("method", METHODS)
def test_eight_bits_and_enough_centroids_are_nearly_exact(method: str) -> None:
    exact = mass(index_of("exact"), queries())
    np.testing.assert_allclose(mass(index_of(method, code_bits=8), queries()), exact, rtol=0.1, atol=0.02)


@pytest.mark.parametrize("method", METHODS)
def test_more_bits_come_closer_to_exact(method: str) -> None:
    exact = mass(index_of("exact"), queries())
    errors = [
        float(np.abs(mass(index_of(method, code_bits=bits), queries()) - exact).sum()) for bits in (1, 4, 8)
    ]
    assert errors[0] > errors[1] > errors[2]


@pytest.mark.parametrize("method", METHODS)
def test_the_prior_is_added(method: str) -> None:
    without, with_it = mass(index_of(method), queries()), mass(index_of(method, prior_strength=5), queries())
    np.testing.assert_allclose(with_it - without, 5 * prior() / prior().sum(), atol=1e-12)


@pytest.mark.parametrize("method", METHODS)
def test_the_mass_is_the_number_of_queries(method: str) -> None:
    assert mass(index_of(**fitting(method, centroids=3)), queries()).sum() == pytest.approx(12)


@pytest.mark.parametrize("method", METHODS)
def test_a_low_inverse_temperature_makes_the_rows_more_equal(method: str) -> None:
    sharp, flat = (
        mass(index_of(method), queries()),
        mass(index_of(method, inverse_temperature=0.1), queries()),
    )
    assert flat.std() < 0.5 * sharp.std()


@pytest.mark.parametrize("method", METHODS)
def test_no_queries_leave_the_prior(method: str) -> None:
    assert len(index_of(method).lookup(index_of(method).encoder.encode(queries(0))).ids) == 0
    found = mass(index_of(method, prior_strength=2), queries(0))
    np.testing.assert_allclose(found, 2 * prior() / prior().sum())


def test_centroids_are_counted() -> None:
    keys = index_of("query-centroids", centroids=4).encoder.encode(queries())
    assert keys["counts"].sum() == 12
    assert len(keys["codes"]) == len(keys["scales"]) == len(keys["counts"]) <= 4


def test_repeated_queries_become_one_counted_centroid() -> None:
    index = index_of("query-centroids", code_bits=8)
    keys = index.encoder.encode(queries(1).repeat(6, 1))
    assert keys["counts"].tolist() == [6]
    np.testing.assert_allclose(mass(index, queries(1).repeat(6, 1)), 6 * mass(index, queries(1)), rtol=1e-5)


def test_codes_are_sorted_by_scale() -> None:
    keys = index_of("query-codes").encoder.encode(queries())
    assert (np.diff(keys["scales"]) >= 0).all()


def keys(method: str, **change: np.ndarray) -> dict[str, np.ndarray]:
    """Good keys of two vectors of 8 bytes, with some arrays replaced."""
    good: dict[str, np.ndarray] = {
        "codes": np.zeros((2, 8), np.uint8),
        "scales": np.full(2, 0.01, np.float32),
    }
    if method == "query-centroids":
        good["counts"] = np.ones(2, np.int32)
    return {**good, **change}


def refusal(method: str, keys: Keys) -> str:
    with pytest.raises(HashfedError) as caught:
        index_of(method).lookup(keys)
    message = str(caught.value)
    assert "\n" not in message
    return message


@pytest.mark.parametrize("method", METHODS)
def test_good_keys_are_accepted(method: str) -> None:
    assert len(index_of(method).lookup(keys(method)).ids) == SIZE


@pytest.mark.parametrize("method", METHODS)
def test_names_are_checked(method: str) -> None:
    needed = "codes, scales" if method == "query-codes" else "codes, counts, scales"
    assert refusal(method, {}) == f"keys []: this index needs {needed}"
    more = keys(method, colour=np.ones(2))
    assert refusal(method, more) == f"keys {sorted(more)}: this index needs {needed}"


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(
    "codes",
    [
        np.zeros((2, 7), np.uint8),
        np.zeros((2, 8), np.int8),
        np.zeros(16, np.uint8),
        np.zeros((2, 8, 1), np.uint8),
    ],
)
def test_codes_are_checked(method: str, codes: np.ndarray) -> None:
    assert refusal(method, keys(method, codes=codes)) == (
        f"codes of type {codes.dtype} and shape {codes.shape}: must be uint8, (count, 8)"
    )


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("scales", [np.ones(3, np.float32), np.ones(2), np.ones((2, 1), np.float32)])
def test_scales_are_checked(method: str, scales: np.ndarray) -> None:
    assert refusal(method, keys(method, scales=scales)) == (
        f"scales of type {scales.dtype} and shape {scales.shape}: must be float32, (2,)"
    )


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("value", [math.nan, math.inf, -1.0])
def test_scales_must_be_finite_and_not_negative(method: str, value: float) -> None:
    message = refusal(method, keys(method, scales=np.array([1, value], np.float32)))
    assert message == "scales: must be finite and not negative; the training diverged?"


@pytest.mark.parametrize(
    "counts",
    [np.ones(3, np.int32), np.ones(2, np.float32), np.array([1, 0], np.int32), np.ones((2, 1), np.int32)],
)
def test_counts_are_checked(counts: np.ndarray) -> None:
    assert refusal("query-centroids", keys("query-centroids", counts=counts)) == (
        f"counts of type {counts.dtype} and shape {counts.shape}: must be integers of at least 1, (2,)"
    )
