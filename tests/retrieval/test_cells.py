import math

import numpy as np
import pytest
import torch

from hashfed.errors import HashfedError
from hashfed.retrieval import Index, Keys, build_index, make_encoder, retrieval_settings
from hashfed.retrieval.cells import RESOLUTION, CellsEncoder, CellsIndex

SIZE, DIMENSION, SEED = 60, 5, 3


def rows() -> torch.Tensor:
    return torch.randn(SIZE, DIMENSION, generator=torch.Generator().manual_seed(0))


def queries(count: int = 9) -> torch.Tensor:
    return torch.randn(count, DIMENSION, generator=torch.Generator().manual_seed(1))


def prior() -> np.ndarray:
    return np.random.default_rng(2).integers(0, 30, SIZE)


def index_of(seed: int = SEED, **more: object) -> CellsIndex:
    settings = retrieval_settings("cells", **{"prior_strength": 0, "cells": 7, **more})
    index = build_index(rows(), settings, prior(), seed)
    assert isinstance(index, CellsIndex)
    return index


def mass(index: Index, queries: torch.Tensor) -> np.ndarray:
    """The score of every row, zero where it is no candidate."""
    found = index.lookup(index.encoder.encode(queries))
    scores = np.zeros(SIZE)
    scores[found.ids] = found.scores
    return scores


def test_cells_have_means_sizes_and_variances() -> None:
    index = index_of()
    encoder, data = index.encoder, rows().numpy()
    assert set(index.cell.tolist()) == set(range(len(encoder.bias)))
    assert len(encoder.bias) <= 7
    for cell in range(len(encoder.bias)):
        members = data[index.cell == cell]
        np.testing.assert_allclose(encoder.centroids[cell], members.mean(0), atol=2e-3)
        assert encoder.bias[cell] == pytest.approx(math.log(len(members)))
        assert encoder.spread[cell] == pytest.approx(members.var(0).mean() / 2, abs=1e-6)


def test_lookup_is_a_plain_loop() -> None:
    index = index_of(prior_strength=4)
    encoder, counts = index.encoder, prior()
    cells = range(len(encoder.bias))
    expected = np.zeros(len(encoder.bias))
    for query in queries().numpy():
        powers = [
            math.exp(
                encoder.bias[cell]
                + float(encoder.centroids[cell].astype(np.float64) @ query)
                + encoder.spread[cell] * float(query @ query)
            )
            for cell in cells
        ]
        expected += np.array(powers) / sum(powers)
    sent = dict.fromkeys(cells, 0) | {
        cell: int(units)
        for cell, units in zip(*map(np.ndarray.tolist, encoder.encode(queries()).values()), strict=True)
    }
    for cell in cells:
        assert sent[cell] == pytest.approx(expected[cell] * RESOLUTION, abs=0.51)
    found = mass(index, queries())
    for row in range(SIZE):
        cell = int(index.cell[row])
        inside = sum(int(counts[other]) + 1 for other in range(SIZE) if index.cell[other] == cell)
        evidence = sent[cell] / RESOLUTION * (counts[row] + 1) / inside
        assert found[row] == pytest.approx(evidence + 4 * counts[row] / counts.sum())


def test_as_many_cells_as_rows_are_exact_up_to_rounding() -> None:
    settings = retrieval_settings("exact")
    exact = mass(build_index(rows(), settings, prior(), SEED), queries())
    np.testing.assert_allclose(mass(index_of(cells=1000), queries()), exact, atol=1 / RESOLUTION)


def test_one_cell_spreads_the_queries_by_counts() -> None:
    np.testing.assert_allclose(mass(index_of(cells=1), queries()), 9 * (prior() + 1) / (prior() + 1).sum())


def test_equal_rows_share_a_cell() -> None:
    settings = retrieval_settings("cells", cells=4)
    index = build_index(torch.ones(4, 2), settings, np.zeros(4), SEED)
    assert isinstance(index, CellsIndex)
    assert index.encoder.bias.tolist() == pytest.approx([math.log(4)])
    assert index.encoder.spread.tolist() == [0]


def test_the_second_order_term_favours_wide_cells() -> None:
    encoder = CellsEncoder(
        np.zeros((2, 1), np.float16), np.zeros(2, np.float32), np.array([0, 0.5], np.float32)
    )
    # Exponents 0 and ½·2² = 2.
    units = encoder.encode(torch.tensor([[2.0]]))["mass"]
    assert units.tolist() == [round(256 / (1 + math.e**2)), round(256 / (1 + math.e**-2))]


def test_keys_are_small_integers_of_few_cells() -> None:
    keys = index_of().encoder.encode(queries() * 10)
    assert keys["cells"].dtype == np.int16
    assert keys["mass"].dtype == np.int32
    assert len(keys["cells"]) < len(index_of().encoder.bias)
    assert keys["mass"].min() >= 1
    assert keys["mass"].sum() == pytest.approx(9 * RESOLUTION, abs=4)


def test_keys_tell_nothing_of_the_order_of_queries() -> None:
    encoder = index_of().encoder
    one, other = encoder.encode(queries()), encoder.encode(queries().flip(0))
    np.testing.assert_array_equal(one["mass"], other["mass"])


def test_the_same_seed_gives_the_same_cells() -> None:
    first, again, other = index_of(), index_of(), index_of(seed=4)
    np.testing.assert_array_equal(first.cell, again.cell)
    np.testing.assert_array_equal(first.encoder.centroids, again.encoder.centroids)
    assert (first.cell != other.cell).any()


def test_no_queries_leave_the_prior() -> None:
    assert not mass(index_of(), queries(0)).any()
    np.testing.assert_allclose(mass(index_of(prior_strength=2), queries(0)), 2 * prior() / prior().sum())


def test_a_query_that_is_not_finite_is_refused_on_the_device() -> None:
    with pytest.raises(HashfedError, match="not finite"):
        index_of().encoder.encode(torch.full((1, DIMENSION), math.nan))


@pytest.mark.parametrize(
    ("value", "problem"),
    [
        (math.nan, "row 0 is not finite"),
        (1e6, "centroids, bias and spread: must be finite; the training diverged?"),
    ],
)
def test_rows_that_no_half_precision_holds_are_refused(value: float, problem: str) -> None:
    with pytest.raises(HashfedError) as caught:
        build_index(torch.full((4, 2), value), retrieval_settings("cells"), np.zeros(4), 0)
    assert str(caught.value) == problem


def refusal(keys: Keys) -> str:
    with pytest.raises(HashfedError) as caught:
        index_of(cells=3).lookup(keys)
    return str(caught.value)


def keys(cells: list[int], mass: list[int], types: tuple[str, str] = ("int16", "int32")) -> Keys:
    return {"cells": np.array(cells, types[0]), "mass": np.array(mass, types[1])}


def test_the_first_and_last_cell_are_accepted() -> None:
    assert len(index_of(cells=3).lookup(keys([0, 2], [1, 5])).ids) > 0


def test_names_of_keys_are_checked() -> None:
    assert refusal({}) == "keys []: this index needs cells, mass"
    assert refusal({"cells": np.zeros(1, np.int16)}) == "keys ['cells']: this index needs cells, mass"


@pytest.mark.parametrize(
    "wrong",
    [
        keys([0], [1], ("int32", "int32")),
        keys([0], [1], ("int16", "float32")),
        keys([0, 1], [1]),
        {"cells": np.zeros((1, 1), np.int16), "mass": np.ones((1, 1), np.int32)},
    ],
)
def test_types_and_shapes_of_keys_are_checked(wrong: Keys) -> None:
    assert refusal(wrong).endswith(": must be int16 and int32, two equal lists")


@pytest.mark.parametrize(
    ("cells", "mass"),
    [([1, 0], [1, 1]), ([1, 1], [1, 1]), ([0], [0]), ([0], [-1]), ([32767, -32768], [1, 1])],
)
def test_cells_ascend_and_have_mass(cells: list[int], mass: list[int]) -> None:
    assert refusal(keys(cells, mass)) == (
        "keys: cells must ascend without repetition, with a mass of at least 1"
    )


@pytest.mark.parametrize(("cells", "range"), [([-1, 2], "-1 to 2"), ([0, 3], "0 to 3")])
def test_cells_are_in_range(cells: list[int], range: str) -> None:
    assert refusal(keys(cells, [1, 1])) == f"cells from {range}: this index has cells 0 to 2"


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"centroids": np.zeros((2, 3), np.float32)}, "must be float16"),
        ({"centroids": np.zeros(2, np.float16)}, "must be float16"),
        ({"centroids": np.zeros((0, 3), np.float16)}, "must be float16"),
        ({"bias": np.zeros(2)}, "bias of type float64 and shape"),
        ({"spread": np.zeros(3, np.float32)}, "spread of type float32 and shape"),
        ({"bias": np.array([0, math.inf], np.float32)}, "must be finite"),
        ({"colour": np.zeros(2)}, "encoder 'cells' with parameters"),
    ],
)
def test_a_received_encoder_is_checked(change: dict[str, np.ndarray], problem: str) -> None:
    good = {
        "centroids": np.zeros((2, 3), np.float16),
        "bias": np.zeros(2, np.float32),
        "spread": np.zeros(2, np.float32),
    }
    make_encoder("cells", good)
    with pytest.raises(HashfedError, match=problem):
        make_encoder("cells", good | change)
