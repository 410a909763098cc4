import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from hashfed.errors import HashfedError
from hashfed.hashing.codes import RotatedCodes, rotation

BITS = [1, 2, 4, 8]


def vectors(count: int, dimension: int) -> torch.Tensor:
    return torch.randn(count, dimension, generator=torch.Generator().manual_seed(0)) * 3


@given(st.sampled_from(BITS), st.integers(1, 17), st.integers(0, 5), st.integers(0, 9))
def test_unpacking_undoes_packing(bits: int, dimension: int, count: int, seed: int) -> None:
    codes = RotatedCodes(dimension, bits, 0)
    levels = np.random.default_rng(seed).integers(0, 1 << bits, (count, dimension)).astype(np.uint8)
    packed = codes._pack(levels)
    assert packed.shape == (count, codes.width)
    assert packed.dtype == np.uint8
    np.testing.assert_array_equal(codes._unpack(packed), levels)


def test_the_first_level_lies_in_the_low_bits() -> None:
    packed = RotatedCodes(5, 2, 0)._pack(np.array([[1, 0, 3, 2, 1]], np.uint8))
    assert packed.tolist() == [[0b10_11_00_01, 0b01]]


@pytest.mark.parametrize(("bits", "width"), [(1, 1), (2, 2), (4, 4), (8, 7)])
def test_width_is_rounded_up(bits: int, width: int) -> None:
    assert RotatedCodes(7, bits, 0).width == width


@pytest.mark.parametrize("bits", BITS)
def test_a_decoded_vector_has_the_square_as_product_with_the_original(bits: int) -> None:
    originals = vectors(20, 33)
    decoded = RotatedCodes(33, bits, 4).decode(*RotatedCodes(33, bits, 4).encode(originals))
    torch.testing.assert_close((decoded * originals).sum(1), originals.square().sum(1), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("bits", BITS)
def test_a_zero_vector_stays_zero(bits: int) -> None:
    codes = RotatedCodes(6, bits, 0)
    _, scales = found = codes.encode(torch.zeros(2, 6))
    assert scales.tolist() == [0, 0]
    assert codes.decode(*found).tolist() == torch.zeros(2, 6).tolist()


@pytest.mark.parametrize("bits", BITS)
def test_no_vectors_give_no_codes(bits: int) -> None:
    codes = RotatedCodes(7, bits, 0)
    packed, scales = codes.encode(torch.zeros(0, 7))
    assert packed.shape == (0, codes.width)
    assert scales.shape == (0,)
    assert codes.decode(packed, scales).shape == (0, 7)


def test_the_error_falls_with_the_bits() -> None:
    originals = vectors(50, 64)
    errors = []
    for bits in BITS:
        codes = RotatedCodes(64, bits, 1)
        rest = codes.decode(*codes.encode(originals)) - originals
        errors.append(float((rest.norm(dim=1) / originals.norm(dim=1)).mean()))
    assert errors[0] < 0.9
    assert errors[1] < 0.7 * errors[0]
    assert errors[2] < 0.5 * errors[1]
    assert errors[3] < 0.2 * errors[2]


def test_one_bit_is_the_sign_of_a_rotated_coordinate() -> None:
    codes, originals = RotatedCodes(9, 1, 2), vectors(8, 9)
    packed, _ = codes.encode(originals)
    signs = (originals @ rotation(9, 2) > 0).numpy()
    np.testing.assert_array_equal(codes._unpack(packed) == 1, signs)


def test_the_rotation_keeps_products_and_comes_from_the_seed() -> None:
    turn = rotation(12, 5)
    torch.testing.assert_close(turn @ turn.T, torch.eye(12), rtol=0, atol=1e-5)
    rotation.cache_clear()
    assert torch.equal(rotation(12, 5), turn)
    assert not torch.equal(rotation(12, 6), turn)


@pytest.mark.parametrize("bits", [0, 3, 16])
def test_other_numbers_of_bits_are_refused(bits: int) -> None:
    with pytest.raises(HashfedError) as caught:
        RotatedCodes(4, bits, 0)
    assert str(caught.value) == f"retrieval.code_bits = {bits}: must be 1, 2, 4 or 8"
