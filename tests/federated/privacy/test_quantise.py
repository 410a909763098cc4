import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hashfed.errors import ClientDivergedError, HashfedError
from hashfed.federated.privacy.parameters import sum_bits
from hashfed.federated.privacy.quantise import PART, Block, dequantise, levels, quantise
from hashfed.federated.privacy.server import signed


class Same:
    """A generator whose numbers are all the same."""

    def __init__(self, value: float) -> None:
        self.value = value

    def random(self, count: int) -> np.ndarray:
        return np.full(count, self.value)


LARGEST = float(np.nextafter(1, 0))
"""What a generator may give at most."""


def test_by_hand() -> None:
    """Four bits: from −7 to 7; 0.35 of 0.7 is 3.5, of which half go up."""
    values = np.array([0, 0.7, -0.7, 0.35, -0.35, 9, -9, 14, -21, 2])
    blocks = [Block(5, 0.7), Block(5, 14)]
    for draw, rounded in ((0.51, [3, -4]), (0.49, [4, -3])):
        found = quantise(values, blocks, 4, Same(draw))  # type: ignore[arg-type]
        expected = [0, 7, -7, *rounded, 4 + (draw < 0.5), -5 + (draw < 0.5), 7, -7, 1]
        assert found.numbers.tolist() == expected
        assert found.numbers.dtype == np.int32
        assert found.clipped == 1


@given(
    st.integers(2, 32),
    st.floats(1e-30, 1e30),
    st.lists(st.floats(-1e31, 1e31), max_size=20),
    st.sampled_from([0.0, 0.5, LARGEST]),
)
def test_no_integer_is_beyond_its_levels(bits: int, width: float, values: list[float], draw: float) -> None:
    """And what is an integer already stays one, whatever is drawn."""
    array = np.array([*values, width, -width, 0])
    found = quantise(array, [Block(len(array), width)], bits, Same(draw))  # type: ignore[arg-type]
    most = levels(bits)
    assert int(np.abs(found.numbers.astype(np.int64)).max()) <= most
    assert found.numbers[-3:].tolist() == [most, -most, 0]
    assert found.clipped == sum(abs(value) > width for value in values)


@given(st.integers(2, 24), st.integers(3, 5000))
def test_no_sum_overflows(bits: int, clients: int) -> None:
    """Of as many clients as there are, all at an end of the range, in the bits of a sum."""
    modulus = sum_bits(bits, clients)
    if modulus > 32:
        return
    for end in (levels(bits), -levels(bits)):
        total = clients * end
        masked = np.array([total % (1 << modulus)], np.uint32)
        assert signed(masked, modulus).tolist() == [total]
    assert sum_bits(bits, clients) == bits + int(np.ceil(np.log2(clients)))


@given(st.integers(4, 16), st.integers(1, 40), st.integers(0, 10**6))
def test_a_sum_is_read_exactly(bits: int, clients: int, seed: int) -> None:
    """The integers' sum times a step, and so at most a step per client from the numbers' own sum."""
    rng = np.random.default_rng(seed)
    blocks = [Block(3, 0.5), Block(0, 1), Block(4, 3)]
    values = [rng.uniform(-1, 1, 7) * np.repeat([0.5, 3], [3, 4]) for _ in range(clients)]
    made = [quantise(value, blocks, bits, rng) for value in values]
    total = np.stack([one.numbers for one in made]).sum(axis=0, dtype=np.int64)
    step = np.repeat([0.5, 3], [3, 4]) / levels(bits)
    found = dequantise(total, blocks, bits)
    np.testing.assert_array_equal(found, total * step)
    assert (np.abs(found - np.sum(values, axis=0)) < clients * step * (1 + 1e-9)).all()


def test_the_mean_is_exact() -> None:
    """A number between two integers becomes each as often as it is near: 0.3 of a step, 20,000 times."""
    count = 20_000
    values = np.full(count, 5.3, np.float64)
    found = quantise(values, [Block(count, 7)], 4, np.random.default_rng(1)).numbers
    assert set(found.tolist()) == {5, 6}
    assert abs(found.mean() - 5.3) < 5 * np.sqrt(0.3 * 0.7 / count)


def test_the_same_draws_however_blocks_are_cut() -> None:
    """One number of the generator for each value, in order; float32 as float64."""
    count = PART + 11
    values = np.random.default_rng(1).uniform(-1, 1, count).astype(np.float32)
    whole = quantise(values, [Block(count, 1)], 16, np.random.default_rng(2))
    parts = quantise(values, [Block(5, 1), Block(count - 5, 1)], 16, np.random.default_rng(2))
    wide = quantise(values.astype(np.float64), [Block(count, 1)], 16, np.random.default_rng(2))
    np.testing.assert_array_equal(whole.numbers, parts.numbers)
    np.testing.assert_array_equal(whole.numbers, wide.numbers)
    exact = values.astype(np.float64) * levels(16)
    up = np.random.default_rng(2).random(count) < exact - np.floor(exact)
    np.testing.assert_array_equal(whole.numbers, np.floor(exact) + up)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_what_is_not_finite_is_refused(value: float) -> None:
    with pytest.raises(ClientDivergedError, match="numbers 1 to 2 of what the client adds are not finite"):
        quantise(np.array([0, 1, value]), [Block(1, 1), Block(2, 1)], 8, np.random.default_rng(1))


def test_blocks_of_another_length_are_refused() -> None:
    for values in (np.zeros(2), np.zeros(4), np.zeros((3, 1))):
        with pytest.raises(HashfedError, match=r"must be \(3,\), as long as all blocks"):
            quantise(values, [Block(1, 1), Block(2, 1)], 8, np.random.default_rng(1))
        with pytest.raises(HashfedError, match=r"must be \(3,\), as long as all blocks"):
            dequantise(values, [Block(1, 1), Block(2, 1)], 8)


@pytest.mark.parametrize("width", [0, -1, np.inf, np.nan])
def test_what_is_no_range(width: float) -> None:
    with pytest.raises(HashfedError, match="a range must be finite and above 0"):
        Block(3, width)


@pytest.mark.parametrize("bits", [1, 33])
def test_bits_of_no_value(bits: int) -> None:
    with pytest.raises(HashfedError, match=f"bits of a value = {bits}: must be from 2 to 32"):
        levels(bits)
