"""What a server learns that tells each client another story of who dropped out, in the complete graph."""

from collections.abc import Iterator, Sequence
from itertools import combinations, product

import pytest

from hashfed.federated.privacy.parameters import fewest_shares


def stories(clients: int, own: int, threshold: int) -> Iterator[frozenset[int]]:
    """Whom a client may be told to have dropped out and still answers: a threshold of others is left."""
    others = [other for other in range(clients) if other != own]
    for count in range(clients - threshold):
        yield from map(frozenset, combinations(others, count))


def learnt(dropped: Sequence[frozenset[int]], clients: int, threshold: int) -> tuple[set[int], set[int]]:
    """Of whom the server learns seed and key, from the honest, who come first, and the corrupt."""
    corrupt = clients - len(dropped)
    seeds, keys = set(), set()
    for owner in range(len(dropped)):
        asked = [other for other in range(len(dropped)) if other != owner]
        of_key = sum(owner in dropped[other] for other in asked)
        if corrupt + len(asked) - of_key >= threshold:
            seeds.add(owner)
        if corrupt + of_key >= threshold:
            keys.add(owner)
    return seeds, keys


@pytest.mark.parametrize(("clients", "share"), [(3, 0.0), (4, 0.0), (5, 0.0), (5, 0.2), (6, 0.2)])
def test_no_story_tells_both_secrets_or_one_vector(clients: int, share: float) -> None:
    """All combinations of stories: nobody's seed and key, and at most one sum, of two of the honest."""
    threshold = fewest_shares(clients, clients - 1, share)
    honest = clients - int(share * clients)
    for dropped in product(*(list(stories(clients, own, threshold)) for own in range(honest))):
        seeds, keys = learnt(dropped, clients, threshold)
        assert not seeds & keys
        # masks between two whose keys are unknown cancel in no sum but one that has both
        together = set(range(honest)) - keys
        assert not together <= seeds or len(together) >= 2 or not together


def test_one_share_fewer_would_tell_both() -> None:
    threshold = fewest_shares(6, 5, 0.2) - 1
    found = (
        learnt(dropped, 6, threshold)
        for dropped in product(*(list(stories(6, own, threshold)) for own in range(5)))
    )
    assert any(seeds & keys for seeds, keys in found)
