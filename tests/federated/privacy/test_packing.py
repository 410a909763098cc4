import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hashfed.errors import HashfedError
from hashfed.federated.privacy.packing import PART, WORD, pack, packed_size, unpack


def test_by_hand() -> None:
    """Three numbers of 12 bits are 0x789 456 123 read backwards, in five bytes."""
    data = pack(np.array([0x123, 0x456, 0x789], np.uint32), 12)
    assert data.tobytes().hex() == "236145" + "8907"
    assert unpack(data, 3, 12).tolist() == [0x123, 0x456, 0x789]


@given(st.integers(8, 32), st.integers(0, 200), st.integers(0, 2**32))
def test_bytes_are_one_little_endian_number(bits: int, count: int, seed: int) -> None:
    numbers = np.random.default_rng(seed).integers(0, 1 << bits, count, dtype=np.uint64).astype(np.uint32)
    data = pack(numbers, bits)
    whole = sum(int(number) << (bits * at) for at, number in enumerate(numbers))
    assert data.dtype == np.uint8
    assert data.tobytes() == whole.to_bytes(packed_size(count, bits), "little")
    np.testing.assert_array_equal(unpack(data, count, bits), numbers)


@pytest.mark.parametrize("bits", [8, 13, 20, 31, 32])
def test_many_numbers(bits: int) -> None:
    """More than are packed at a time, and some that fill no group."""
    count = 2 * PART * WORD + 37
    numbers = np.random.default_rng(bits).integers(0, 1 << bits, count, dtype=np.uint64).astype(np.uint32)
    np.testing.assert_array_equal(unpack(pack(numbers, bits), count, bits), numbers)


@pytest.mark.parametrize("data", [np.zeros(4, np.uint8), np.zeros(6, np.uint8), np.zeros(5, np.int8)])
def test_other_bytes_are_refused(data: np.ndarray) -> None:
    with pytest.raises(HashfedError, match=r"3 numbers of 12 bits = .*: must be uint8 \(5,\)"):
        unpack(data, 3, 12)


def test_bits_beyond_the_last_number_are_refused() -> None:
    data = pack(np.zeros(3, np.uint32), 12)
    data[-1] = 16
    with pytest.raises(HashfedError, match="the last 4 bits must be zero"):
        unpack(data, 3, 12)


@pytest.mark.parametrize("bits", [7, 33])
def test_bits_that_are_not_packed(bits: int) -> None:
    with pytest.raises(HashfedError, match=f"numbers of {bits} bits: must be from 8 to 32"):
        pack(np.zeros(3, np.uint32), bits)
