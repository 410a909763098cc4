"""Secrets shared so that a threshold of shares gives them back, and fewer say nothing (Shamir 1979).

Shares are values of a random polynomial at points > 0, over a prime field that holds all secrets of 32 bytes.
"""

from collections.abc import Callable, Mapping, Sequence

PRIME = 2**256 + 297
"""The smallest prime above 2^256."""
SHARE = 33
"""Bytes of a share."""
SECRET = 32
"""Bytes of a secret."""
DRAWN = 64
"""Random bytes per coefficient: modulo the prime, none is likelier than another by more than 2^−255."""


def split(
    secret: bytes, threshold: int, points: Sequence[int], random_bytes: Callable[[int], bytes]
) -> list[bytes]:
    """A share for each point, of which any ``threshold`` give the secret.

    Args:
        secret: 32 bytes.
        threshold: ≥ 1.
        points: distinct, > 0.
        random_bytes: gives as many as asked for.

    """
    if len(secret) != SECRET or not 1 <= threshold <= len(points) or min(points) < 1:
        raise ValueError("a secret of 32 bytes is shared among as many points > 0 as the threshold, or more")
    drawn = random_bytes(DRAWN * (threshold - 1))
    chance = [_number(drawn[at : at + DRAWN]) % PRIME for at in range(0, len(drawn), DRAWN)]
    return [share_bytes(evaluate([_number(secret), *chance], point)) for point in points]


def join(shares: Mapping[int, bytes]) -> bytes | None:
    """The secret from as many shares as the threshold, by point; None where no secret has these shares."""
    values = {point: _number(share) for point, share in shares.items()}
    found = interpolate(values)
    return found.to_bytes(SECRET, "little") if found < 2 ** (8 * SECRET) else None


def evaluate(coefficients: Sequence[int], point: int) -> int:
    """The polynomial at a point, its constant first."""
    total = 0
    for coefficient in reversed(coefficients):
        total = (total * point + coefficient) % PRIME
    return total


def interpolate(values: Mapping[int, int]) -> int:
    """At zero, the polynomial of lowest degree that has these values at these points."""
    total = 0
    for point, value in values.items():
        above = below = 1
        for other in values:
            if other != point:
                above = above * other % PRIME
                below = below * (other - point) % PRIME
        total += value * above * pow(below, -1, PRIME)
    return total % PRIME


def share_bytes(value: int) -> bytes:
    """An element of the field as it travels."""
    return value.to_bytes(SHARE, "little")


def _number(data: bytes) -> int:
    return int.from_bytes(data, "little")
