import pytest
from hypothesis import given
from hypothesis import strategies as st

from hashfed.errors import HashfedError
from hashfed.federated.privacy.graph import neighbours, neighbours_of


def connected(graph: list[tuple[int, ...]], left: set[int]) -> bool:
    """Whether who is left can all reach each other."""
    reached, fresh = set(), {min(left)}
    while fresh:
        reached |= fresh
        fresh = {other for at in fresh for other in graph[at] if other in left} - reached
    return reached == left


@given(st.binary(min_size=32, max_size=32), st.integers(2, 40), st.data())
def test_each_has_k_neighbours_both_ways(seed: bytes, clients: int, data: st.DataObject) -> None:
    degrees = [k for k in range(1, clients) if k % 2 == 0 or clients % 2 == 0]
    degree = data.draw(st.sampled_from(degrees))
    graph = neighbours(seed, clients, degree)
    for position, near in enumerate(graph):
        assert len(set(near)) == len(near) == degree
        assert position not in near
        assert list(near) == sorted(near)
        assert all(position in graph[other] for other in near)
        assert near == neighbours_of(seed, clients, degree, position)
    if degree > 1:
        gone = data.draw(st.sets(st.integers(0, clients - 1), max_size=degree - 1))
        assert connected(graph, set(range(clients)) - gone), "k gone are the fewest that part it"


@pytest.mark.parametrize("clients", [3, 4, 15, 16])
def test_all_others_are_neighbours_in_the_complete_graph(clients: int) -> None:
    graph = neighbours(bytes(32), clients, clients - 1)
    assert graph == [tuple(other for other in range(clients) if other != at) for at in range(clients)]


def test_the_seed_draws_the_graph() -> None:
    """Every bit of it."""
    seeds = [(1 << bit).to_bytes(32, "little") for bit in range(256)]
    assert len({tuple(neighbours(seed, 30, 4)) for seed in [bytes(32), *seeds]}) == 257


@pytest.mark.parametrize(("clients", "degree"), [(5, 3), (5, 5), (5, 0), (2, 2)])
def test_what_is_no_graph(clients: int, degree: int) -> None:
    with pytest.raises(HashfedError, match=f"{degree} neighbours of each of {clients} clients: must be"):
        neighbours(bytes(32), clients, degree)
