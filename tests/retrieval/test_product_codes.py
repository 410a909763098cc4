import numpy as np
import pytest
import torch

from hashfed.errors import HashfedError
from hashfed.retrieval import Index, Keys, build_index, make_encoder, retrieval_settings
from hashfed.retrieval.evidence import softmax_mass
from hashfed.retrieval.product_codes import ProductCodesEncoder

DIMENSION, SEED = 12, 3
KINDS = ["product", "residual"]


def vectors(count: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(count, DIMENSION, generator=torch.Generator().manual_seed(seed)) * 2


def index_of(rows: torch.Tensor, seed: int = SEED, **more: object) -> Index:
    settings = retrieval_settings("product-codes", **{"prior_strength": 0, "subspaces": 3, **more})
    return build_index(rows, settings, np.arange(len(rows)), seed)


def encoder_of(rows: torch.Tensor, seed: int = SEED, **more: object) -> ProductCodesEncoder:
    encoder = index_of(rows, seed, **more).encoder
    assert isinstance(encoder, ProductCodesEncoder)
    return encoder


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("count", [5, 256])
def test_directions_of_few_rows_are_their_own_codewords(kind: str, count: int) -> None:
    rows = vectors(count)
    encoder = encoder_of(rows, quantizer=kind)
    keys = encoder.encode(rows * 3)
    expected = (rows * 3)[rows.norm(dim=1).argsort(stable=True)]
    torch.testing.assert_close(encoder.decode(keys)[0], expected, rtol=0, atol=0.02)


@pytest.mark.parametrize("kind", KINDS)
def test_lookup_is_the_softmax_mass_of_decoded_queries(kind: str) -> None:
    rows, queries = vectors(400), vectors(20, 1)
    index = index_of(rows, quantizer=kind, prior_strength=4, inverse_temperature=0.5)
    keys = index.encoder.encode(queries)
    decoded = index.queries(keys)[0]
    expected = softmax_mass(rows, decoded * 0.5) + 4 * np.arange(400) / np.arange(400).sum()
    found = index.lookup(keys)
    assert found.ids.tolist() == list(range(400))
    np.testing.assert_allclose(found.scores, expected, rtol=1e-4)


@pytest.mark.parametrize("kind", KINDS)
def test_codes_are_the_nearest_codewords(kind: str) -> None:
    encoder = encoder_of(vectors(400), quantizer=kind)
    queries = vectors(6, 1)
    keys = encoder.encode(queries)
    for query in queries:
        rest = (query / query.norm()).numpy()
        code = []
        for position, codewords in enumerate(encoder.codebooks.astype(np.float32)):
            part = slice(4 * position, 4 * position + 4) if kind == "product" else slice(None)
            nearest = int(np.argmin(np.square(codewords - rest[part]).sum(1)))
            rest[part] -= codewords[nearest]
            code.append(nearest)
        assert code in keys["codes"].tolist()


@pytest.mark.parametrize("kind", KINDS)
def test_more_bytes_come_closer(kind: str) -> None:
    rows = vectors(1000)
    errors = []
    for parts in (1, 3, 6):
        encoder = encoder_of(rows, quantizer=kind, subspaces=parts)
        keys = encoder.encode(rows)
        rest = encoder.decode(keys)[0] - rows[rows.norm(dim=1).argsort(stable=True)]
        errors.append(float(rest.square().sum()))
    assert errors[0] > 1.5 * errors[1] > 2 * errors[2]


@pytest.mark.parametrize("kind", KINDS)
def test_the_same_seed_gives_the_same_codebooks(kind: str) -> None:
    rows = vectors(1000)
    first, again = encoder_of(rows, quantizer=kind), encoder_of(rows, quantizer=kind)
    np.testing.assert_array_equal(first.codebooks, again.codebooks)
    other = encoder_of(rows, seed=4, quantizer=kind)
    assert (first.codebooks != other.codebooks).any()


@pytest.mark.parametrize("kind", KINDS)
def test_the_rows_stay_as_they_are_and_zero_queries_have_no_direction(kind: str) -> None:
    rows = vectors(300)
    rows[7] = 0
    before = rows.clone()
    encoder = encoder_of(rows, quantizer=kind)
    queries = torch.zeros(2, DIMENSION)
    keys = encoder.encode(queries)
    assert torch.equal(rows, before)
    assert encoder.decode(keys)[0].tolist() == queries.tolist()


def test_codes_are_sorted_by_length_and_one_byte_each() -> None:
    keys = encoder_of(vectors(300)).encode(vectors(20, 1))
    assert (np.diff(keys["scales"]) >= 0).all()
    assert keys["codes"].dtype == np.uint8
    assert keys["codes"].shape == (20, 3)


def test_no_queries_leave_the_prior() -> None:
    index = index_of(vectors(20), prior_strength=2)
    keys = index.encoder.encode(vectors(0))
    assert keys["codes"].shape == (0, 3)
    found = index.lookup(keys)
    np.testing.assert_allclose(found.scores, 2 * np.arange(1, 20) / 190)
    nothing = index_of(vectors(20))
    assert len(nothing.lookup(keys).ids) == 0


def test_subspaces_must_divide_the_length() -> None:
    with pytest.raises(HashfedError) as caught:
        index_of(vectors(20), subspaces=5)
    assert str(caught.value) == "retrieval.subspaces = 5: must divide the length of the rows, 12"
    index_of(vectors(20), subspaces=5, quantizer="residual")


@pytest.mark.parametrize(
    ("keys", "problem"),
    [
        ({}, "keys []: this index needs codes, scales"),
        (
            {"codes": np.zeros((2, 4), np.uint8), "scales": np.ones(2, np.float32)},
            "codes of type uint8 and shape (2, 4): must be uint8, (count, 3)",
        ),
        (
            {"codes": np.zeros((2, 3), np.int32), "scales": np.ones(2, np.float32)},
            "codes of type int32 and shape (2, 3): must be uint8, (count, 3)",
        ),
        (
            {"codes": np.zeros((2, 3), np.uint8), "scales": np.ones(1, np.float32)},
            "scales of type float32 and shape (1,): must be float32, (2,)",
        ),
        (
            {"codes": np.zeros((1, 3), np.uint8), "scales": np.full(1, np.nan, np.float32)},
            "scales: must be finite and not negative; the training diverged?",
        ),
    ],
)
def test_keys_that_do_not_fit_are_refused(keys: Keys, problem: str) -> None:
    with pytest.raises(HashfedError) as caught:
        index_of(vectors(20)).lookup(keys)
    assert str(caught.value) == problem


@pytest.mark.parametrize(
    ("codebooks", "problem"),
    [
        (np.zeros((3, 256, 4), np.float32), "must be float16"),
        (np.zeros((3, 255, 4), np.float16), "must be float16"),
        (np.zeros((3, 256, 5), np.float16), "must be float16"),
        (np.zeros((256, 4), np.float16), "must be float16"),
        (np.zeros((0, 256, 12), np.float16), "must be float16"),
        (np.full((3, 256, 4), np.inf, np.float16), "must be finite"),
    ],
)
def test_a_received_encoder_is_checked(codebooks: np.ndarray, problem: str) -> None:
    good = make_encoder("product-codes", {"dimension": 12, "codebooks": np.zeros((3, 256, 4), np.float16)})
    assert isinstance(good, ProductCodesEncoder)
    with pytest.raises(HashfedError, match=problem):
        make_encoder("product-codes", {"dimension": 12, "codebooks": codebooks})
