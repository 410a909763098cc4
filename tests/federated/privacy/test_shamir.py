from itertools import combinations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hashfed.federated.privacy.shamir import PRIME, evaluate, interpolate, join, share_bytes, split
from masked_sums import drawn


def test_by_hand() -> None:
    """1234 + 166 x + 94 x², at 1 to 6; any three give 1234."""
    values = {1: 1494, 2: 1942, 3: 2578, 4: 3402, 5: 4414, 6: 5614}
    assert {point: evaluate([1234, 166, 94], point) for point in values} == values
    for three in combinations(values, 3):
        assert interpolate({point: values[point] for point in three}) == 1234
    assert interpolate({1: 1494, 2: 1942}) == 1046  # a line: 1046 + 448 x


def test_the_prime_is_one_above_two_to_the_256() -> None:
    """Miller and Rabin's test, to the first twelve primes; and no smaller one is."""

    def is_prime(number: int) -> bool:
        odd, twos = number - 1, 0
        while odd % 2 == 0:
            odd, twos = odd // 2, twos + 1
        for base in (2, 3, 5, 7, 11, 13, 17, 19, 23, 29, 31, 37):
            powers = [pow(base, odd << step, number) for step in range(twos)]
            if powers[0] != 1 and number - 1 not in powers:
                return False
        return True

    assert is_prime(PRIME)
    assert not any(is_prime(number) for number in range(2**256 + 1, PRIME, 2))


@given(st.binary(min_size=32, max_size=32), st.integers(1, 6), st.integers(0, 4), st.data())
def test_a_threshold_of_shares_gives_the_secret(
    secret: bytes, threshold: int, more: int, data: st.DataObject
) -> None:
    points = data.draw(
        st.lists(st.integers(1, 1000), min_size=threshold + more, max_size=threshold + more, unique=True)
    )
    shares = dict(zip(points, split(secret, threshold, points, drawn(secret)), strict=True))
    assert all(len(share) == 33 for share in shares.values())
    chosen = data.draw(st.permutations(points))
    assert join({point: shares[point] for point in chosen[:threshold]}) == secret
    assert join(shares) == secret


@given(st.binary(min_size=32, max_size=32), st.binary(min_size=32, max_size=32), st.integers(2, 6))
def test_fewer_shares_fit_every_secret(secret: bytes, other: bytes, threshold: int) -> None:
    """With any secret there is a polynomial through one share fewer than the threshold, and just one."""
    points = list(range(1, threshold + 1))
    shares = split(secret, threshold, points, drawn(secret))
    few = {point: int.from_bytes(share, "little") for point, share in zip(points, shares, strict=True)}
    last = few.pop(threshold)
    assert interpolate(few) != int.from_bytes(secret, "little"), "the polynomial has as many coefficients"
    # the value at the last point with which all of them give the other secret
    pull = interpolate({**dict.fromkeys(few, 0), threshold: 1})
    needed = (int.from_bytes(other, "little") - interpolate({**few, threshold: 0})) * pow(pull, -1, PRIME)
    fitting = {**few, threshold: needed % PRIME}
    assert join({point: share_bytes(value) for point, value in fitting.items()}) == other
    assert (needed % PRIME == last) == (secret == other)


def test_shares_of_no_secret() -> None:
    assert join({1: share_bytes(2**256), 2: share_bytes(2**256)}) is None


def test_coefficients_are_drawn_anew() -> None:
    """No two secrets, and no two sharings of one, lie on polynomials with a coefficient in common."""
    draw = drawn("one stream")
    first, second = (split(bytes(32), 2, [1, 2], draw) for _ in range(2))
    assert len({*first, *second}) == 4


@pytest.mark.parametrize(("threshold", "points"), [(0, [1]), (3, [1, 2]), (1, [0, 1])])
def test_what_is_no_sharing(threshold: int, points: list[int]) -> None:
    with pytest.raises(ValueError, match="shared among"):
        split(bytes(32), threshold, points, drawn())
