"""Who neighbours whom: a Harary graph over positions in an order that a public seed draws.

In a circle of all clients each neighbours the ⌊k / 2⌋ nearest on both sides and, where k is odd, the one
opposite: no graph in which each has k neighbours is harder to part (Bell et al. 2020, section 3).
"""

import hashlib

from hashfed.errors import HashfedError


def neighbours(seed: bytes, clients: int, degree: int) -> list[tuple[int, ...]]:
    """The neighbours of each position, ascending.

    Everybody who knows the seed finds the same graph, so that nobody needs to be told, or to believe, who
    neighbours whom.

    Args:
        seed: drawn once all keys are known.
        clients: n ≥ 2.
        degree: k, from 1 to n − 1; even where n is odd. n − 1 is the complete graph.

    Raises:
        HashfedError: where there is no such graph.

    """
    check_degree(clients, degree)
    circle = _circle(seed, clients)
    found: list[tuple[int, ...]] = [()] * clients
    for place, position in enumerate(circle):
        found[position] = _around(circle, place, degree)
    return found


def neighbours_of(seed: bytes, clients: int, degree: int, position: int) -> tuple[int, ...]:
    """Those of one position alone."""
    check_degree(clients, degree)
    circle = _circle(seed, clients)
    return _around(circle, circle.index(position), degree)


def _circle(seed: bytes, clients: int) -> list[int]:
    """All positions, in the order of digests that nobody knows before the seed."""
    return sorted(range(clients), key=lambda at: hashlib.sha256(seed + at.to_bytes(4, "little")).digest())


def _around(circle: list[int], place: int, degree: int) -> tuple[int, ...]:
    """Positions near a place of the circle and, where the degree is odd, the one opposite."""
    half, clients = degree // 2, len(circle)
    near = [circle[(place + step) % clients] for step in range(-half, half + 1) if step]
    if degree % 2:
        near.append(circle[(place + clients // 2) % clients])
    return tuple(sorted(near))


def check_degree(clients: int, degree: int) -> None:
    """Refuse a graph that there is not.

    Raises:
        HashfedError: naming both.

    """
    if not 1 <= degree < clients or (clients % 2 and degree % 2):
        raise HashfedError(
            f"{degree} neighbours of each of {clients} clients: "
            f"must be from 1 to {clients - 1}, and even where the clients are odd"
        )
