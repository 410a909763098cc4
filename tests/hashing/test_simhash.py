import math

import numpy as np
import pytest
import torch

from hashfed.errors import HashfedError
from hashfed.hashing import SimHash, simhash

ANGLES = np.linspace(0, math.pi, 13)
Z = 5
"""Width of the confidence intervals: an honest sample leaves one about once in a million."""


def at_angles(dimension: int, seed: int = 0) -> torch.Tensor:
    """A vector, then one at each of ``ANGLES`` from it, of different lengths."""
    rng = np.random.default_rng(seed)
    basis, _ = np.linalg.qr(rng.standard_normal((dimension, 2)))
    vectors = np.stack([basis[:, 0], *(np.outer(np.cos(ANGLES), basis[:, 0]))])
    vectors[1:] += np.outer(np.sin(ANGLES), basis[:, 1])
    return torch.from_numpy(vectors * rng.uniform(0.1, 10, (len(vectors), 1))).float()


def assert_rates(hits: np.ndarray, trials: int, chance: np.ndarray) -> None:
    """Each count of ``hits`` lies in the interval around ``trials`` · ``chance`` (Bernstein's, about)."""
    margin = Z * np.sqrt(trials * chance * (1 - chance)) + Z
    assert (np.abs(hits - trials * chance) <= margin).all(), (hits / trials, chance)


@pytest.mark.parametrize("bits", [1, 2, 3, 4, 8, 12, 16])
def test_collision_rate_is_that_of_the_angle(bits: int) -> None:
    tables = 8192 // bits
    seeds = math.ceil(20_000 / tables)
    vectors = at_angles(dimension=5)
    hits = np.zeros(len(ANGLES))
    for seed in range(seeds):
        codes = SimHash(bits, tables, 5, seed).hash(vectors)
        hits += (codes[1:] == codes[0]).sum(axis=1)
    chance = (1 - ANGLES / math.pi) ** bits
    assert_rates(hits, seeds * tables, chance)


@pytest.mark.parametrize(("bits", "tables"), [(1, 1), (2, 3), (3, 16), (4, 8), (8, 8)])
def test_chance_to_be_found_in_one_of_the_tables(bits: int, tables: int) -> None:
    seeds = 2000
    vectors = at_angles(dimension=4)
    hits = np.zeros(len(ANGLES))
    for seed in range(seeds):
        codes = SimHash(bits, tables, 4, seed).hash(vectors)
        hits += (codes[1:] == codes[0]).any(axis=1)
    assert_rates(hits, seeds, 1 - (1 - (1 - ANGLES / math.pi) ** bits) ** tables)


def test_every_bit_is_a_fair_coin() -> None:
    hash = SimHash(8, 1024, 6, 3)
    codes = hash.hash(at_angles(6)[:1])[0]
    ones = np.array([(codes >> bit & 1).sum() for bit in range(8)])
    assert_rates(ones, 1024, np.full(8, 0.5))
    assert codes.min() >= 0
    assert codes.max() < 256


def test_a_hand_computed_example() -> None:
    hash = SimHash(bits=2, tables=3, dimension=2, seed=0)
    lines = [[1.0, 0.0], [0.0, 1.0], [-1.0, 0.0], [1.0, 1.0], [-1.0, -1.0], [1.0, -1.0]]
    object.__setattr__(hash, "projections", torch.tensor(lines))
    # (2, 1): products 2, 1, -2, 3, -3, 1. Table 0 has lines 0 and 3, table 1 lines 1 and 4, table 2 the rest.
    # (-1, 3): products -1, 3, 1, 2, -2, -4.
    # (1, 1): products 1, 1, -1, 2, -2, 0; a product of zero gives bit 0.
    codes = hash.hash(torch.tensor([[2.0, 1.0], [-1.0, 3.0], [1.0, 1.0]]))
    assert codes.tolist() == [[3, 1, 2], [2, 1, 1], [3, 1, 0]]
    assert codes.dtype == np.int32


@pytest.mark.parametrize(("bits", "tables"), [(1, 1), (3, 4), (16, 2)])
def test_bit_k_of_table_l_is_the_sign_of_projection_k_tables_plus_l(bits: int, tables: int) -> None:
    hash = SimHash(bits, tables, 7, 11)
    vectors = torch.randn(9, 7, generator=torch.Generator().manual_seed(0))
    assert hash.projections.shape == (bits * tables, 7)
    codes = hash.hash(vectors)
    for vector, code in zip(vectors.double(), codes, strict=True):
        for table in range(tables):
            signs = [float(hash.projections[k * tables + table].double() @ vector) > 0 for k in range(bits)]
            assert code[table] == sum(1 << k for k, sign in enumerate(signs) if sign)


def test_the_seed_alone_decides_the_projections() -> None:
    vectors = torch.randn(50, 6, generator=torch.Generator().manual_seed(0))
    one, same, other = SimHash(4, 8, 6, 5), SimHash(4, 8, 6, 5), SimHash(4, 8, 6, 6)
    assert torch.equal(one.projections, same.projections)
    assert not torch.isclose(one.projections, other.projections).any()
    np.testing.assert_array_equal(one.hash(vectors), same.hash(vectors))
    assert (one.hash(vectors) != other.hash(vectors)).any()
    assert one == same
    assert one != other


def test_projections_are_standard_normal() -> None:
    values = SimHash(16, 512, 20, 1).projections.double()
    count = values.numel()
    assert abs(float(values.mean())) < Z / math.sqrt(count)
    assert abs(float(values.square().mean()) - 1) < Z * math.sqrt(2 / count)


def test_length_of_a_vector_does_not_matter() -> None:
    hash = SimHash(6, 20, 5, 2)
    vectors = torch.randn(40, 5, generator=torch.Generator().manual_seed(1))
    np.testing.assert_array_equal(hash.hash(vectors * 1024), hash.hash(vectors))
    np.testing.assert_array_equal(hash.hash(vectors / 1024), hash.hash(vectors))


def test_opposite_vectors_never_collide() -> None:
    hash = SimHash(1, 2000, 3, 2)
    vectors = torch.randn(10, 3, generator=torch.Generator().manual_seed(1))
    np.testing.assert_array_equal(hash.hash(vectors) + hash.hash(-vectors), 1)


def test_a_zero_vector_is_in_bucket_zero() -> None:
    codes = SimHash(5, 9, 4, 0).hash(torch.zeros(2, 4))
    np.testing.assert_array_equal(codes, np.zeros((2, 9)))


def test_no_vectors_have_no_codes() -> None:
    assert SimHash(5, 9, 4, 0).hash(torch.zeros(0, 4)).shape == (0, 9)


@pytest.mark.parametrize("count", [1, 6, 7, 8, 20])
def test_pieces_equal_the_whole(count: int, monkeypatch: pytest.MonkeyPatch) -> None:
    hash = SimHash(5, 9, 4, 0)
    vectors = torch.randn(count, 4, generator=torch.Generator().manual_seed(count))
    whole = hash.hash(vectors)
    monkeypatch.setattr(simhash, "CHUNK", 7)
    np.testing.assert_array_equal(hash.hash(vectors), whole)


def signs_in_float64(hash: SimHash, vectors: torch.Tensor) -> np.ndarray:
    """Codes (count, L) from products in float64."""
    products = (vectors.double() @ hash.projections.double().T).numpy()
    signs = (products > 0).reshape(len(vectors), hash.bits, hash.tables)
    return np.asarray((signs * (1 << np.arange(hash.bits))[None, :, None]).sum(axis=1))


@pytest.mark.parametrize(("bits", "tables"), [(8, 8), (8, 64), (16, 5), (11, 3)])
@pytest.mark.parametrize("scale", [0.0, 1e-38, 1e-30, 1e-18, 1e-15, 1.0, 1e18, 1e30])
def test_codes_do_not_depend_on_what_is_hashed_with_them(bits: int, tables: int, scale: float) -> None:
    hash = SimHash(bits, tables, 96, 1)
    vectors = torch.randn(300, 96, generator=torch.Generator().manual_seed(2)) * scale
    vectors[::7] = 0
    # Next to long vectors, and nearly at right angles to many projections.
    vectors[3] = 1e30
    vectors[40:60] = torch.eye(96)[:20] * scale
    whole = hash.hash(vectors)
    alone = np.concatenate([hash.hash(vector) for vector in vectors.split(1)])
    np.testing.assert_array_equal(whole, alone)
    np.testing.assert_array_equal(whole, hash.hash(vectors.flip(0))[::-1])
    np.testing.assert_array_equal(whole, signs_in_float64(hash, vectors))


def test_products_that_round_to_either_side_of_zero_are_decided_exactly() -> None:
    # (1, 1, −2^−30): the product with (x, −x, 1) is −2^−30 · 1, far below the rounding error of x.
    hash = SimHash(1, 1, 3, 0)
    object.__setattr__(hash, "projections", torch.tensor([[1.0, 1.0, -(2.0**-30)]]))
    x = 1234.5678
    vectors = torch.tensor([[x, -x, 1.0], [x, -x, -1.0], [x, -x, 0.0]])
    assert hash.hash(vectors)[:, 0].tolist() == [0, 1, 0]


@pytest.mark.parametrize(("bits", "tables"), [(8, 8), (16, 512)])
def test_parts_are_written_one_after_another(bits: int, tables: int) -> None:
    hash = SimHash(bits, tables, 6, 5)
    vectors = torch.randn(50, 6, generator=torch.Generator().manual_seed(0))
    codes = np.empty((tables, 50), simhash.code_type(bits))
    hash.write(vectors.split([3, 0, 40, 7]), codes)
    np.testing.assert_array_equal(codes.T, hash.hash(vectors))
    assert 1 <= hash.chunk <= simhash.CHUNK


@pytest.mark.parametrize(
    ("bits", "tables", "problem"),
    [
        (0, 1, "retrieval.bits = 0: K must be from 1 to 16"),
        (-1, 1, "retrieval.bits = -1: K must be from 1 to 16"),
        (17, 1, "retrieval.bits = 17: K must be from 1 to 16"),
        (1, 0, "retrieval.tables = 0: L must be at least 1"),
        (1, -3, "retrieval.tables = -3: L must be at least 1"),
        (16, 513, "retrieval.bits × retrieval.tables = 8208: K·L must be at most 8192"),
        (1, 8193, "retrieval.bits × retrieval.tables = 8193: K·L must be at most 8192"),
    ],
)
def test_sizes_out_of_range_are_refused(bits: int, tables: int, problem: str) -> None:
    with pytest.raises(HashfedError) as caught:
        SimHash(bits, tables, 2, 0)
    assert str(caught.value) == problem


@pytest.mark.parametrize(("bits", "tables"), [(1, 1), (16, 1), (16, 512), (1, 8192)])
def test_extreme_sizes_are_accepted(bits: int, tables: int) -> None:
    codes = SimHash(bits, tables, 2, 0).hash(torch.tensor([[1.0, 2.0], [-3.0, 1.0]]))
    assert codes.shape == (2, tables)
    assert codes.min() >= 0
    assert codes.max() < 1 << bits
