"""Law 14: a sum under masks is the plain integer sum bit for bit, or it is none."""

from collections.abc import Collection, Iterator
from itertools import chain, combinations

import numpy as np
import pytest

from hashfed.federated.privacy.parameters import Parameters, choose
from hashfed.federated.privacy.server import AbortedError, SecureSum
from masked_sums import CONTEXT, Session, drawn, names_of, vectors_of


def subsets(names: Collection[str]) -> Iterator[tuple[str, ...]]:
    ordered = sorted(names)
    return chain.from_iterable(combinations(ordered, count) for count in range(len(ordered) + 1))


def near(session: Session, name: str, names: Collection[str]) -> int:
    """How many of these neighbour a client."""
    roster = session.server.roster
    around = roster.neighbours[roster.names.index(name)]
    return sum(roster.names.index(other) in around for other in names)


def core(session: Session, names: Collection[str], threshold: int) -> set[str]:
    """The most of these of which each neighbours a threshold."""
    left = set(names)
    while poor := {name for name in left if near(session, name, left) < threshold}:
        left -= poor
    return left


def over(server: SecureSum) -> bool:
    """Whether nothing is left that a sum could be made of."""
    return server.stage == "over" and not server._answers and not server._shares and not len(server._sum)


def check_answers(session: Session, alive: Collection[str], answering: Collection[str]) -> None:
    """The sum of those alive where each is near enough of those that answer, else none."""
    server, threshold = session.server, session.server.parameters.threshold
    part = [server.roster.names[position] for position in server._taking_part]
    told = {name: near(session, name, answering) for name in part}
    known = all(told[name] >= threshold for name in part if name in alive or near(session, name, alive))
    assert server.complete == known
    if known:
        np.testing.assert_array_equal(server.total(), session.plain(alive))
    else:
        with pytest.raises(AbortedError, match="neighbours told their shares of its secret, must be at"):
            server.total()
    assert over(server)


@pytest.mark.parametrize(
    ("clients", "degree", "threshold"),
    [(3, 2, 2), (4, 3, 2), (4, 3, 3), (5, 4, 3), (5, 2, 2), (6, 5, 3), (6, 5, 4), (6, 4, 3), (6, 3, 2)],
)
def test_every_subset_at_every_stage(clients: int, degree: int, threshold: int) -> None:
    """All ways in which any clients stop after keys, shares or vectors: 4^n, from n to none in the sum."""
    names = names_of(clients)
    start = Session.begin(vectors_of(clients), degree, threshold)
    parts = start.advertise(names)
    made = start.make_shares(parts, names)
    sums = 0
    for sharing in subsets(names):
        shared = start.copy()
        for name in sharing:
            shared.server.take_shares(name, made[name])
        part = core(shared, sharing, threshold)
        if len(part) < 3:
            with pytest.raises(AbortedError, match=r"shares arrived of \d clients"):
                shared.server.inboxes()
            assert over(shared.server)
            continue
        inboxes = shared.server.inboxes()
        assert set(inboxes) == part
        vectors = shared.make_vectors(inboxes, part)
        for alive in subsets(part):
            masked = shared.copy()
            for name in alive:
                masked.server.take_vector(name, vectors[name])
            needed = [name for name in part if name in alive or near(masked, name, alive)]
            if len(alive) < 3 or any(near(masked, name, alive) < threshold for name in needed):
                with pytest.raises(AbortedError, match=r"vectors arrived of|neighbours are left"):
                    masked.server.survivors()
                assert over(masked.server)
                continue
            questions = masked.server.survivors()
            assert set(questions) == set(alive)
            answers = masked.make_answers(questions, alive)
            for answering in subsets(alive):
                answered = masked.copy()
                for name in answering:
                    answered.server.take_answer(name, answers[name])
                check_answers(answered, alive, answering)
                sums += 1
    assert sums > 0


@pytest.mark.parametrize("clients", [4, 5, 6])
def test_every_subset_that_sends_no_keys(clients: int) -> None:
    """Who is left has a session of its own size."""
    names = names_of(clients)
    for left in subsets(names):
        session = Session.begin(vectors_of(clients), 2, 2)
        if len(left) < 3:
            with pytest.raises(AbortedError, match="clients of a sum under masks = "):
                session.advertise(left)
            assert session.server.stage == "over"
            continue
        parts = session.advertise(left)
        session.answer(session.mask(session.share(parts, left), left), left)
        np.testing.assert_array_equal(session.server.total(), session.plain(left))


def random_case(seed: int) -> bool:
    """Twenty clients of which any stop anywhere; whether there was a sum."""
    rng = np.random.default_rng(seed)
    names = names_of(20)
    degree, threshold = [(19, 10), (19, 13), (8, 5), (7, 4)][seed % 4]
    session = Session.begin(vectors_of(20, length=2, seed=seed), degree, threshold)
    lost = rng.choice([0, 0.03, 0.1, 0.25], 4)
    left = [name for name in names if rng.random() >= lost[0]]
    try:
        parts = session.advertise(left)
        left = [name for name in left if rng.random() >= lost[1]]
        inboxes = session.share(parts, left)
        alive = [name for name in inboxes if rng.random() >= lost[2]]
        rng.shuffle(alive)
        questions = session.mask(inboxes, alive)
    except AbortedError:
        assert session.server.stage == "over"
        return False
    answering = [name for name in alive if rng.random() >= lost[3]]
    session.answer(questions, answering)
    complete = session.server.complete
    check_answers(session, alive, answering)
    return complete


def test_random_cases_at_twenty() -> None:
    found = [random_case(seed) for seed in range(12)]
    assert len(set(found)) == 2, "there are sums, and there are none"


@pytest.mark.parametrize("clients", [40, pytest.param(1000, marks=pytest.mark.slow)])
def test_many_clients_of_which_some_drop_out_of_every_stage(clients: int) -> None:
    """With the neighbours that so many need, and not all others."""
    vectors = vectors_of(clients, length=100)

    def choice(count: int) -> Parameters:
        return choose(count, 8, 100)

    session = Session(SecureSum(CONTEXT, vectors, choice, drawn("server")), vectors, {})
    rng = np.random.default_rng(clients)

    def left(names: Collection[str]) -> list[str]:
        return sorted(rng.permutation(sorted(names))[: -max(1, clients // 33)].tolist())

    inboxes = session.share(parts := session.advertise(left(vectors)), left(parts))
    assert session.server.parameters.neighbours < len(parts) - 1
    alive = left(inboxes)
    session.answer(questions := session.mask(inboxes, alive), left(questions))
    np.testing.assert_array_equal(session.server.total(), session.plain(alive))
    assert len(alive) < len(inboxes) < len(parts) < clients


@pytest.mark.slow
def test_a_thousand_random_cases_at_twenty() -> None:
    found = [random_case(seed) for seed in range(1000)]
    assert 300 < sum(found) < 950
