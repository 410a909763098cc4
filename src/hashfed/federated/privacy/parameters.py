"""How many neighbours and which threshold a sum needs, and what a client demands of those it is offered.

A client's secrets are shared among its k neighbours; t of them give a secret back. Of n clients a share may
be *corrupt*, that is tell the server all they know, and a share may drop out. Then, for every client at once
and but for a chance of 2^−40 each,

    secrecy     fewer than t of its neighbours are corrupt, and t > k / 2; where everybody neighbours
                everybody, t > (k + corrupt) / 2: then nobody gets t shares of both secrets of a client, even
                if the server tells each neighbour another story of who dropped out
                (elsewhere it is trusted to tell all of them the same)
    the sum     at least t of its neighbours are left
    connection  the honest who are left form one connected graph: no part of them can be summed alone

Which clients are corrupt or drop out is chosen without knowledge of the graph, so that marked neighbours are
hypergeometric; their tails are summed exactly, in integers.
"""

from dataclasses import dataclass
from functools import cache
from math import comb

from hashfed.errors import HashfedError
from hashfed.federated.privacy.graph import check_degree
from hashfed.federated.privacy.packing import LEAST, WORD

FAILURE_BITS = 40
"""−log2 of the chance of failure of each kind."""
FEWEST_CLIENTS = 3
"""Of a sum of two, each of them knows what the other gave."""
MOST_CLIENTS = 1 << 14
MOST_NUMBERS = 1 << 30
"""Of a vector. An AES-CTR stream of 4 GB is far from what one key may make."""


@dataclass(frozen=True)
class Tolerance:
    """What a round should bear.

    Attributes:
        corrupt: share of clients that tell the server all they know, from 0 to below 1.
        dropped: share of clients that do not answer, from 0 to below 1; corrupt + 2 · dropped < 1 always has
            a solution, and corrupt + dropped ≥ 1 none.
        complete: up to so many clients everybody neighbours everybody: among few it costs little, and more is
            true (see above).

    """

    corrupt: float = 0.2
    dropped: float = 0.2
    complete: int = 32

    def __post_init__(self) -> None:
        """Refuse what no share is."""
        for name in ("corrupt", "dropped"):
            value = getattr(self, name)
            if not 0 <= value < 1:
                raise HashfedError(f"tolerated share of {name} clients = {value}: must be from 0 to below 1")


@dataclass(frozen=True)
class Parameters:
    """Of one session, the same for all.

    Attributes:
        clients: n, in the roster.
        neighbours: k, of each client.
        threshold: t, shares that give a secret back.
        least_survivors: a sum of fewer clients is not unmasked.
        value_bits: of what one client adds, in two's complement.
        length: m, numbers of a vector.

    """

    clients: int
    neighbours: int
    threshold: int
    least_survivors: int
    value_bits: int
    length: int

    def __post_init__(self) -> None:
        """Refuse parameters that no session can have."""
        _within("clients of a sum under masks", self.clients, FEWEST_CLIENTS, MOST_CLIENTS)
        check_degree(self.clients, self.neighbours)
        _within("threshold of shares", self.threshold, self.neighbours // 2 + 1, self.neighbours)
        _within("least survivors", self.least_survivors, FEWEST_CLIENTS, self.clients)
        _within("length of the vector", self.length, 1, MOST_NUMBERS)
        _within(f"bits of a sum of {self.clients} clients", self.bits, LEAST, WORD)
        _within("bits of a value", self.value_bits, 2, WORD)

    @property
    def bits(self) -> int:
        """Of the sum, and so of every masked number: no sum of n values overflows them."""
        return sum_bits(self.value_bits, self.clients)


@dataclass(frozen=True)
class Demands:
    """What a client asks of every session, whatever the server proposes.

    Attributes:
        least_clients: in the roster.
        least_survivors: whose vectors are in a sum that it helps to unmask.
        corrupt: share of clients against which the threshold must protect.
        complete: up to so many clients everybody must neighbour everybody: in a sparser graph a server that
            tells each client another story of who dropped out can get one client's vector.

    """

    least_clients: int = FEWEST_CLIENTS
    least_survivors: int = FEWEST_CLIENTS
    corrupt: float = 0.2
    complete: int = 0

    def check(self, parameters: Parameters) -> None:
        """Refuse parameters that protect a client less than it demands.

        Raises:
            HashfedError: naming the first that does.

        """
        clients, degree = parameters.clients, parameters.neighbours
        if clients < self.least_clients:
            raise HashfedError(f"a roster of {clients} clients: must have at least {self.least_clients}")
        if parameters.least_survivors < self.least_survivors:
            raise HashfedError(
                f"least survivors = {parameters.least_survivors}: must be at least {self.least_survivors}"
            )
        if clients <= self.complete and degree != clients - 1:
            raise HashfedError(
                f"{degree} neighbours of each of {clients} clients: must be {clients - 1} up to "
                f"{self.complete} clients"
            )
        fewest = fewest_shares(clients, degree, self.corrupt)
        if parameters.threshold < fewest:
            raise HashfedError(
                f"threshold of shares = {parameters.threshold} of {degree} neighbours: must be at least "
                f"{fewest} where {self.corrupt:g} of {clients} clients may be corrupt"
            )


def sum_bits(value_bits: int, clients: int) -> int:
    """Bits in which a sum of ``clients`` values of ``value_bits`` bits cannot overflow: ⌈log2 n⌉ more."""
    return value_bits + (clients - 1).bit_length()


def choose(clients: int, value_bits: int, length: int, tolerance: Tolerance | None = None) -> Parameters:
    """Parameters for so many clients: the fewest neighbours that bear what is tolerated, and a threshold.

    Raises:
        HashfedError: where none do, or the sum has more than 32 bits.

    """
    _within("clients of a sum under masks", clients, FEWEST_CLIENTS, MOST_CLIENTS)
    degree, threshold = choose_graph(clients, tolerance or Tolerance())
    least = min(clients, max(FEWEST_CLIENTS, threshold + 1, clients // 2 + 1))
    return Parameters(clients, degree, threshold, least, value_bits, length)


@cache
def choose_graph(clients: int, tolerance: Tolerance) -> tuple[int, int]:
    """Neighbours k of each of n ≥ 3 clients, and the threshold t.

    Raises:
        HashfedError: where even the complete graph does not do.

    """
    complete = clients - 1
    if not _bears(clients, complete, tolerance):
        raise HashfedError(
            f"{clients} clients of which {tolerance.corrupt:g} may be corrupt and {tolerance.dropped:g} drop "
            "out: no threshold of shares bears that; tolerate fewer"
        )
    degree = complete
    if clients > tolerance.complete:
        step = 1 + clients % 2  # only even degrees, where the clients are odd
        low, high = 0, complete // step  # `high` bears it, `low` does not
        while high - low > 1:
            middle = (low + high) // 2
            if _bears(clients, middle * step, tolerance):
                high = middle
            else:
                low = middle
        degree = high * step
        while degree > 2 and _bears(
            clients, degree - 2, tolerance
        ):  # an odd one may do where the even is too few
            degree -= 2
    return degree, fewest_shares(clients, degree, tolerance.corrupt)


@cache
def fewest_shares(clients: int, neighbours: int, corrupt: float) -> int:
    """The lowest threshold that keeps a client's secrets from the corrupt among its neighbours; see above."""
    marked = most_marked(clients, neighbours, corrupt)
    if neighbours == clients - 1:
        return (neighbours + marked) // 2 + 1
    return max(neighbours // 2, marked) + 1


@cache
def most_marked(clients: int, neighbours: int, share: float) -> int:
    """How many of anybody's neighbours are of a share of the clients, but for a chance of 2^−40 in the round.

    A client has k of the n − 1 others for neighbours, ⌊share · n⌋ of which are marked: hypergeometric.
    """
    others, marked = clients - 1, marked_of(clients, share)
    all_ways = comb(others, neighbours)
    found = min(marked, neighbours)
    least = max(0, neighbours - (others - marked))
    ways = comb(marked, found) * comb(others - marked, neighbours - found)
    tail = 0
    while found > least:
        if (tail + ways) * clients << FAILURE_BITS > all_ways:
            break
        tail += ways
        # of one marked neighbour fewer, from those of as many
        ways = ways * found * (others - marked - neighbours + found)
        ways //= (marked - found + 1) * (neighbours - found + 1)
        found -= 1
    return found


def marked_of(clients: int, share: float) -> int:
    """A share of the clients, rounded down; a product that is whole but for float64's rounding is whole."""
    return int(share * clients + 1e-9)


def _bears(clients: int, degree: int, tolerance: Tolerance) -> bool:
    """Whether a threshold is there that is high enough for secrecy and low enough for the sum."""
    left = degree - most_marked(clients, degree, tolerance.dropped)
    return fewest_shares(clients, degree, tolerance.corrupt) <= left and _connected(
        clients, degree, tolerance
    )


def _connected(clients: int, degree: int, tolerance: Tolerance) -> bool:
    """Whether the honest who are left are connected, but for a chance of 2^−40.

    Two parts lie between two runs of ⌊k / 2⌋ clients beside each other who are gone. There are fewer than
    n² / 2 pairs of runs, and all in a pair are gone in C(n − 2⌊k / 2⌋, gone − 2⌊k / 2⌋) of C(n, gone) ways.
    """
    gone = marked_of(clients, tolerance.corrupt) + marked_of(clients, tolerance.dropped)
    run = 2 * (degree // 2)
    if degree == clients - 1 or run > gone:
        return True
    ways = comb(clients - run, gone - run) * comb(clients, 2)
    return ways << FAILURE_BITS <= comb(clients, gone)


def _within(name: str, value: int, least: int, most: int) -> None:
    if not least <= value <= most:
        raise HashfedError(f"{name} = {value}: must be from {least} to {most}")
