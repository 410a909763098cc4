"""MIDX's proposals, against the softmax over rows that were replaced by their codewords."""

import numpy as np
import pytest
import torch

from hashfed.errors import ClientDivergedError, HashfedError
from hashfed.retrieval import Index, Keys, build_index, retrieval_settings
from hashfed.retrieval.codebooks import Codebooks
from hashfed.retrieval.evidence import softmax_mass
from hashfed.retrieval.multi_index import MultiIndex, MultiIndexEncoder

DIMENSION, SEED = 6, 3
KINDS = ["product", "residual"]


def vectors(count: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(count, DIMENSION, generator=torch.Generator().manual_seed(seed))


def index_of(rows: torch.Tensor, seed: int = SEED, **more: object) -> MultiIndex:
    settings = retrieval_settings("multi-index", **{"codeword_bits": 3, **more})
    index = build_index(rows, settings, np.zeros(len(rows)), seed)
    assert isinstance(index, MultiIndex)
    return index


def replaced(index: MultiIndex) -> torch.Tensor:
    """Each row's sum of codewords."""
    books = Codebooks(DIMENSION, index.encoder.codebooks)
    codewords = len(index.encoder.sizes)
    return books.sum(np.stack([index.cell // codewords, index.cell % codewords], 1))


def scores(index: Index, keys: Keys, count: int) -> np.ndarray:
    found, full = index.lookup(keys), np.zeros(count)
    full[found.ids] = found.scores
    return full


@pytest.mark.parametrize("kind", KINDS)
def test_scores_are_the_softmax_over_replaced_rows(kind: str) -> None:
    rows, queries = vectors(200), 3 * vectors(300, 1)
    index = index_of(rows, quantizer=kind)
    expected = softmax_mass(replaced(index), queries) / len(queries)
    found = scores(index, index.encoder.encode(queries), len(rows))
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-8)
    assert found.sum() == pytest.approx(1, rel=1e-3)


def test_two_codewords_by_hand() -> None:
    """Three rows in two cells: with logits 0 and log 3 the shares are 1 : 2·3."""
    codebooks = np.array([[[0, 0], [1, 0]], [[0, 0], [0, 1]]], np.float16)
    encoder = MultiIndexEncoder(2, codebooks, np.array([[1, 0], [0, 2]], np.float32))
    keys = encoder.encode(torch.tensor([[np.log(1.5), np.log(2)]], dtype=torch.float32))
    np.testing.assert_allclose(keys["shares"], [1 / 7, 0, 0, 6 / 7], rtol=1e-3)
    found = MultiIndex(encoder, np.array([3, 0, 3])).lookup(keys)
    assert found.ids.tolist() == [0, 1, 2]
    np.testing.assert_allclose(found.scores, [3 / 7, 1 / 7, 3 / 7], rtol=1e-3)


@pytest.mark.parametrize("kind", KINDS)
def test_every_row_is_in_the_cell_of_its_nearest_codewords(kind: str) -> None:
    rows = vectors(100)
    before = rows.clone()
    index = index_of(rows, quantizer=kind)
    assert torch.equal(rows, before)
    first, second = index.encoder.codebooks.astype(np.float32)
    for row, cell in zip(rows.numpy(), index.cell, strict=True):
        one, other = (row[:3], row[3:]) if kind == "product" else (row, None)
        nearest = int(np.argmin(np.square(first - one).sum(1)))
        rest = row - first[nearest] if other is None else other
        assert cell == 8 * nearest + int(np.argmin(np.square(second - rest).sum(1)))
    assert index.encoder.sizes.sum() == len(rows)


def test_large_logits_stay_finite_and_infinite_ones_are_a_divergence() -> None:
    index = index_of(vectors(200))
    shares = index.encoder.encode(1e3 * vectors(5, 1))["shares"]
    assert np.isfinite(shares).all()
    assert shares.astype(np.float64).sum() == pytest.approx(1, rel=1e-2)
    with pytest.raises(ClientDivergedError, match="the training diverged"):
        index.encoder.encode(torch.full((1, DIMENSION), np.inf))


@pytest.mark.parametrize("count", [1, 5])
def test_fewer_rows_than_codewords_are_cells_of_their_own(count: int) -> None:
    rows, queries = vectors(count), vectors(4, 1)
    index = index_of(rows, codeword_bits=4)
    expected = softmax_mass(rows, queries) / 4
    np.testing.assert_allclose(scores(index, index.encoder.encode(queries), count), expected, atol=2e-3)


def test_the_seed_decides() -> None:
    rows = vectors(500)
    first, again, other = index_of(rows), index_of(rows), index_of(rows, seed=4)
    np.testing.assert_array_equal(first.encoder.codebooks, again.encoder.codebooks)
    assert (first.encoder.codebooks != other.encoder.codebooks).any()


def test_halves_need_an_even_length() -> None:
    settings = retrieval_settings("multi-index", quantizer="product")
    assert settings.width_problem(7, "model.embedding") == (
        "retrieval.quantizer = product: model.embedding = 7 must be even"
    )
    with pytest.raises(HashfedError, match="the length of the rows = 5 must be even"):
        build_index(torch.zeros(9, 5), settings, np.zeros(9), SEED)
    assert settings.smallest().width_problem(7, "model.embedding") is None


@pytest.mark.parametrize(
    ("keys", "problem"),
    [
        ({}, "keys []: this index needs shares"),
        ({"shares": np.zeros(64)}, "shares of type float64 and shape (64,): must be float16, (64,)"),
        (
            {"shares": np.zeros(63, np.float16)},
            "shares of type float16 and shape (63,): must be float16, (64,)",
        ),
        ({"shares": np.full(64, -1, np.float16)}, "shares: must be finite and not negative"),
        ({"shares": np.full(64, np.inf, np.float16)}, "shares: must be finite and not negative"),
    ],
)
def test_keys_that_do_not_fit_are_refused(keys: Keys, problem: str) -> None:
    with pytest.raises(HashfedError) as caught:
        index_of(vectors(20)).lookup(keys)
    assert str(caught.value) == problem


@pytest.mark.parametrize(
    ("codebooks", "sizes", "problem"),
    [
        (np.zeros((2, 4, 3), np.float16), np.zeros((4, 5), np.float32), "sizes of type float32 and shape"),
        (np.zeros((2, 4, 3), np.float16), np.zeros((4, 4)), "sizes of type float64"),
        (np.zeros((2, 4, 3), np.float16), np.full((4, 4), -1, np.float32), "sizes: must be finite and not"),
        (np.zeros((2, 5, 3), np.float16), np.zeros((4, 4), np.float32), "must be float16"),
        (np.zeros((3, 4, 2), np.float16), np.zeros((4, 4), np.float32), "codebooks of shape"),
    ],
)
def test_a_received_encoder_is_checked(codebooks: np.ndarray, sizes: np.ndarray, problem: str) -> None:
    with pytest.raises(HashfedError, match=problem):
        MultiIndexEncoder(DIMENSION, codebooks, sizes)
