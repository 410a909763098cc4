from fractions import Fraction
from itertools import combinations
from math import comb

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hashfed.errors import HashfedError
from hashfed.federated.privacy import parameters
from hashfed.federated.privacy.parameters import (
    FAILURE_BITS,
    Demands,
    Tolerance,
    choose,
    choose_graph,
    fewest_shares,
    most_marked,
    sum_bits,
)


def tail(clients: int, marked: int, neighbours: int, above: int) -> Fraction:
    """The chance that more than ``above`` of a client's neighbours are marked."""
    ways = sum(
        comb(marked, found) * comb(clients - 1 - marked, neighbours - found)
        for found in range(above + 1, min(marked, neighbours) + 1)
    )
    return Fraction(ways, comb(clients - 1, neighbours))


@given(st.integers(3, 120), st.floats(0, 0.9), st.data())
def test_marked_neighbours_are_hypergeometric(clients: int, share: float, data: st.DataObject) -> None:
    """The bound holds but for 2^−40 in the round, and one less would not."""
    neighbours = data.draw(st.integers(1, clients - 1))
    found, marked = most_marked(clients, neighbours, share), int(share * clients)
    limit = Fraction(1, clients << FAILURE_BITS)
    assert tail(clients, marked, neighbours, found) <= limit
    assert found == 0 or tail(clients, marked, neighbours, found - 1) > limit or marked >= clients - 1


def test_hypergeometric_by_hand() -> None:
    """Of five others two are marked: a client with three neighbours has both with a chance of 3 in 10."""
    ways = [set(chosen) for chosen in combinations(range(5), 3)]
    assert tail(6, 2, 3, 1) == Fraction(sum({0, 1} <= way for way in ways), len(ways)) == Fraction(3, 10)
    assert most_marked(6, 3, 1 / 3) == 2


def test_everybody_neighbours_everybody_among_few() -> None:
    """16 clients of which 3 are corrupt and 3 drop out: 15 neighbours, of which 10 > (15 + 3) / 2 agree."""
    found = choose(16, 16, 1000)
    assert (found.neighbours, found.threshold, found.bits) == (15, 10, 20)
    for clients in range(3, 33):
        few = choose(clients, 16, 1000)
        corrupt = int(0.2 * clients)
        assert few.neighbours == clients - 1
        assert 2 * few.threshold > few.neighbours + corrupt
        assert few.neighbours - int(0.2 * clients) >= few.threshold
        Demands().check(few)
    assert choose(100, 12, 1000, Tolerance(complete=100)).threshold == 60 > (99 + 20) / 2


@pytest.mark.parametrize(
    ("clients", "neighbours", "threshold"), [(100, 41, 21), (300, 85, 43), (1000, 121, 61), (1001, 124, 63)]
)
def test_neighbours_among_many(clients: int, neighbours: int, threshold: int) -> None:
    """A fifth corrupt and a fifth dropped, each bound but for 2^−40."""
    found = choose(clients, 12, 1000)
    assert (found.neighbours, found.threshold) == (neighbours, threshold)
    marked, limit = clients // 5, Fraction(1, clients << FAILURE_BITS)
    assert tail(clients, marked, neighbours, threshold - 1) <= limit
    assert tail(clients, marked, neighbours, neighbours - threshold) <= limit
    assert 2 * threshold > neighbours
    Demands().check(found)


def test_fewer_neighbours_do_where_less_is_tolerated() -> None:
    degrees = [choose_graph(1000, Tolerance(share, share))[0] for share in (0.02, 0.05, 0.1, 0.2)]
    assert degrees == sorted(set(degrees))
    corrupt = [fewest_shares(1000, 121, share) for share in (0.0, 0.2, 0.3, 0.4)]
    assert corrupt == sorted(corrupt)
    assert corrupt[0] == 61


def test_two_runs_of_clients_that_are_gone_part_the_graph() -> None:
    """Fewer neighbours than the thresholds alone would need are too few for the honest to be connected."""
    assert parameters._connected(1000, 121, Tolerance())
    assert not parameters._connected(1000, 20, Tolerance())
    assert parameters._connected(1000, 20, Tolerance(0.005, 0.005)), "ten cannot fill two runs of ten"


@given(st.integers(2, 30), st.integers(3, 16384))
def test_bits_of_a_sum(bits: int, clients: int) -> None:
    """The fewest in which neither end overflows."""
    found = sum_bits(bits, clients)
    assert clients * (1 << (bits - 1)) <= 1 << (found - 1) < 2 * clients * (1 << (bits - 1))


def test_what_no_threshold_bears() -> None:
    with pytest.raises(
        HashfedError, match=r"20 clients of which 0.4 may be corrupt and 0.4 drop out: no thr"
    ):
        choose(20, 8, 3, Tolerance(0.4, 0.4))
    for share in (-0.1, 1.0):
        with pytest.raises(HashfedError, match=f"tolerated share of dropped clients = {share}: must be"):
            Tolerance(0, share)
    with pytest.raises(HashfedError, match="clients of a sum under masks = 2: must be from 3"):
        choose(2, 8, 3)
    with pytest.raises(HashfedError, match="bits of a sum of 100 clients = 33: must be from 8 to 32"):
        choose(100, 26, 3)


def test_a_client_demands_what_protects_it_from_the_corrupt() -> None:
    """A server that proposes 60 of 121, or fewer neighbours for so many clients, is refused."""
    found = choose(1000, 12, 10)
    weak = parameters.Parameters(1000, 20, 12, 501, 12, 10)
    with pytest.raises(HashfedError, match="threshold of shares = 12 of 20 neighbours: must be at least 21"):
        Demands().check(weak)
    with pytest.raises(HashfedError, match="threshold of shares = 60: must be from 61 to 121"):
        parameters.Parameters(1000, found.neighbours, 60, 501, 12, 10)
