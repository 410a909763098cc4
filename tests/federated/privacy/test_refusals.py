"""What is late, early, twice, forged, of another session: refused, and both sides as they were."""

from collections.abc import Callable
from dataclasses import replace
from itertools import combinations
from typing import Any

import numpy as np
import pytest

from hashfed.errors import HashfedError
from hashfed.federated.codec import Message
from hashfed.federated.privacy import client
from hashfed.federated.privacy.context import Context
from hashfed.federated.privacy.messages import Inbox, RosterPart, Survivors, pack_positions
from hashfed.federated.privacy.parameters import Demands
from hashfed.federated.privacy.primitives import seal, unseal
from hashfed.federated.privacy.server import AbortedError
from hashfed.federated.privacy.shamir import split
from masked_sums import CONTEXT, NO_DEMANDS, Session, drawn, names_of, told, vectors_of

CLIENTS, THRESHOLD = 5, 3
NAMES = names_of(CLIENTS)
FIRST, SECOND = NAMES[:2]
TAKES = {
    "public-keys": "take_keys",
    "key-shares": "take_shares",
    "masked-vector": "take_vector",
    "unmasking": "take_answer",
}
"""The server's method for each kind of message."""
KINDS = list(TAKES)


class Played:
    """A whole session, with every message and what the server knew before each stage ended."""

    def __init__(self, context: Context = CONTEXT) -> None:
        self.session = Session.begin(vectors_of(CLIENTS), CLIENTS - 1, THRESHOLD, context=context)
        self.messages: dict[str, dict[str, Any]] = {}
        self.before: dict[str, Session] = {}
        """Session before any message of a kind."""
        self.questions: dict[str, dict[str, Any]] = {}
        """What clients were sent, by the kind of their answer."""
        self.secrets: dict[str, Any] = {}
        """Secrets before the first client's answer of a kind."""
        server, secrets = self.session.server, self.session.secrets
        steps: dict[str, Callable[[str], Any]] = {
            "public-keys": lambda name: client.advertise(context, drawn("keys", name, context)),
            "key-shares": lambda name: client.share(
                secrets[name], self.questions["key-shares"][name], NO_DEMANDS, drawn("share", name, context)
            ),
            "masked-vector": lambda name: client.mask(
                secrets[name], self.questions["masked-vector"][name], self.session.vectors[name]
            ),
            "unmasking": lambda name: client.unmask(secrets[name], self.questions["unmasking"][name]),
        }
        for kind, step in steps.items():
            self.before[kind] = self.session.copy()
            self.messages[kind] = {}
            for name in NAMES:
                self.secrets.setdefault(kind, secrets.get(name))
                secrets[name], self.messages[kind][name] = step(name)
            for name in NAMES:
                getattr(server, TAKES[kind])(name, self.messages[kind][name])
            if kind != "unmasking":
                self.questions[KINDS[KINDS.index(kind) + 1]] = ends(self.session)[kind]()


@pytest.fixture(scope="module")
def played() -> Played:
    return Played()


@pytest.fixture(scope="module")
def other_round() -> Played:
    return Played(replace(CONTEXT, round=8))


@pytest.fixture(scope="module")
def other_label() -> Played:
    return Played(replace(CONTEXT, label="update, again"))


def send(session: Session, name: str, message: Message) -> None:
    getattr(session.server, TAKES[message.kind])(name, message)


def check_refused(session: Session, name: str, message: Message, why: str) -> None:
    """Refused on one line that names the client; nothing is known that was not, and the right sum comes."""
    before = told(session.server)
    with pytest.raises(HashfedError, match=why) as refused:
        send(session, name, message)
    assert str(refused.value).startswith(f"client {name}: ")
    assert "\n" not in str(refused.value)
    assert told(session.server) == before


def ends(session: Session) -> dict[str, Callable[[], Any]]:
    """What ends each stage, by the kind of its messages."""
    server = session.server
    return {
        "public-keys": server.rosters,
        "key-shares": server.inboxes,
        "masked-vector": server.survivors,
        "unmasking": server.total,
    }


def finish(played: Played, session: Session, kind: str, done: str = "") -> None:
    """All right messages from a kind on, but one client's of that kind; then the sum."""
    for later in KINDS[KINDS.index(kind) :]:
        for name in NAMES:
            if (later, name) != (kind, done):
                send(session, name, played.messages[later][name])
        found = ends(session)[later]()
    np.testing.assert_array_equal(found, session.plain(NAMES))


@pytest.mark.parametrize("kind", KINDS)
def test_a_second_message_is_refused(played: Played, kind: str) -> None:
    session = played.before[kind].copy()
    send(session, FIRST, played.messages[kind][FIRST])
    check_refused(session, FIRST, played.messages[kind][FIRST], "it sent one already")
    finish(played, session, kind, done=FIRST)


@pytest.mark.parametrize(("at", "kind"), list(combinations(KINDS, 2)))
def test_an_early_message_is_refused(played: Played, at: str, kind: str) -> None:
    session = played.before[at].copy()
    check_refused(session, FIRST, played.messages[kind][FIRST], "arrived while the server takes")
    finish(played, session, at)


@pytest.mark.parametrize("kind", KINDS)
def test_a_late_message_is_refused(played: Played, kind: str) -> None:
    """The first client's, when all others' have ended the stage."""
    session = played.before[kind].copy()
    for name in NAMES[1:]:
        send(session, name, played.messages[kind][name])
    ends(session)[kind]()
    check_refused(session, FIRST, played.messages[kind][FIRST], "arrived while the server takes")


def test_who_missed_a_stage_is_refused_in_the_next(played: Played) -> None:
    session = played.before["key-shares"].copy()
    inboxes = session.share(played.questions["key-shares"], NAMES[1:])
    assert set(inboxes) == set(NAMES[1:])
    late = "masked-vector: its shares did not arrive in time"
    check_refused(session, FIRST, played.messages["masked-vector"][FIRST], late)
    questions = session.mask(inboxes, NAMES[1:])
    late = "unmasking: its vector did not arrive in time"
    check_refused(session, FIRST, played.messages["unmasking"][FIRST], late)
    session.answer(questions, NAMES[1:])
    np.testing.assert_array_equal(session.server.total(), session.plain(NAMES[1:]))
    session = played.before["public-keys"].copy()
    session.advertise(NAMES[1:])
    late = "key-shares: its keys did not arrive in time"
    check_refused(session, FIRST, played.messages["key-shares"][FIRST], late)


@pytest.mark.parametrize("kind", KINDS)
def test_a_message_of_another_round_is_refused(played: Played, other_round: Played, kind: str) -> None:
    session = played.before[kind].copy()
    replayed = other_round.messages[kind][FIRST]
    check_refused(session, FIRST, replayed, f"{kind} of round 8: must be of round 7")
    check_refused(session, FIRST, replace(replayed, round=7), f"{kind} of another s")
    finish(played, session, kind)


@pytest.mark.parametrize("kind", KINDS)
def test_a_message_of_another_sum_of_the_round_is_refused(
    played: Played, other_label: Played, kind: str
) -> None:
    session = played.before[kind].copy()
    check_refused(session, FIRST, other_label.messages[kind][FIRST], f"{kind} of another s")
    finish(played, session, kind)


@pytest.mark.parametrize("kind", KINDS)
def test_a_stranger_is_refused(played: Played, kind: str) -> None:
    session = played.before[kind].copy()
    check_refused(session, "eve", played.messages[kind][FIRST], "it is not of this sum")
    finish(played, session, kind)


@pytest.mark.parametrize("kind", KINDS)
def test_arrays_of_another_shape_or_type_are_refused(played: Played, kind: str) -> None:
    session = played.before[kind].copy()
    message = played.messages[kind][FIRST]
    for name, value in vars(message).items():
        if isinstance(value, np.ndarray):
            for wrong in (
                value[:-1],
                value.astype(np.int16),
                value[..., None],
                np.concatenate([value, value]),
            ):
                check_refused(session, FIRST, replace(message, **{name: wrong}), "must be uint8")
    finish(played, session, kind)


def test_bits_beyond_the_last_number_are_refused(played: Played) -> None:
    """3 numbers of 11 bits are 33 bits, of 5 bytes."""
    session = played.before["masked-vector"].copy()
    message = played.messages["masked-vector"][FIRST]
    vector = message.vector.copy()
    vector[-1] |= 2
    check_refused(session, FIRST, replace(message, vector=vector), "the last 7 bits must be zero")
    finish(played, session, "masked-vector")


def test_keys_of_another_or_of_low_order_are_refused(played: Played) -> None:
    session = played.before["public-keys"].copy()
    send(session, FIRST, played.messages["public-keys"][FIRST])
    message = played.messages["public-keys"][SECOND]
    first = played.messages["public-keys"][FIRST].keys
    twice = np.stack([message.keys[0], message.keys[0]])
    mixed = np.stack([message.keys[0], first[0]])
    for keys in (first, twice, mixed):
        check_refused(session, SECOND, replace(message, keys=keys), "a key is there already")
    one = np.zeros(32, np.uint8)
    one[0] = 1
    for low in (np.zeros(32, np.uint8), one):
        keys = np.stack([message.keys[0], low])
        check_refused(session, SECOND, replace(message, keys=keys), "a key is of low order")
    finish(played, session, "public-keys", done=FIRST)


def test_a_forged_answer_names_who_told_it(played: Played) -> None:
    """Every share of every neighbour, each with one bit changed; and another client's answer."""
    session = played.before["unmasking"].copy()
    message = played.messages["unmasking"][FIRST]
    for at in range(CLIENTS - 1):
        shares = message.shares.copy()
        shares[at, at] ^= 1
        check_refused(session, FIRST, replace(message, shares=shares), f"of client {NAMES[at + 1]}'s secret")
    check_refused(session, FIRST, played.messages["unmasking"][SECOND], "is not what that committed to")
    finish(played, session, "unmasking")


def test_shares_of_another_key_give_no_sum(played: Played) -> None:
    """A client that shares another key than it masks with, and drops out: no sum rather than a wrong one."""
    session = played.before["key-shares"].copy()
    liar = replace(session.secrets[FIRST], mask_key=bytes(range(1, 33)))
    parts = played.questions["key-shares"]
    own = client.share(session.secrets[FIRST], parts[FIRST], NO_DEMANDS, drawn("x"))
    with pytest.raises(HashfedError, match="own_keys are not this client's"):
        client.share(liar, parts[FIRST], NO_DEMANDS, drawn("x"))
    place = own[0].known_place
    points = [position + 1 for position in place.neighbours]
    pairs = [
        seed + key
        for seed, key in zip(
            split(bytes(32), 3, points, drawn("s")),
            split(liar.mask_key, 3, points, drawn("k")),
            strict=True,
        )
    ]
    agreed = client._agreed(liar.share_key, place, client.SHARE_KEY)
    boxes, commitments = own[1].boxes.copy(), own[1].commitments.copy()
    for at, (to, pair) in enumerate(zip(place.neighbours, pairs, strict=True)):
        key, bound = client._box_key(place.session, agreed[at], 0, to)
        boxes[at] = np.frombuffer(seal(key, bytes(12), pair, bound), np.uint8)
        made = b"".join(client._commitments(place.session, 0, to, pair))
        commitments[at] = np.frombuffer(made, np.uint8).reshape(2, 16)
    session.server.take_shares(FIRST, replace(own[1], boxes=boxes, commitments=commitments))
    inboxes = session.share(parts, NAMES[1:])
    session.answer(session.mask(inboxes, NAMES[1:]), NAMES[1:])
    with pytest.raises(AbortedError, match=f"client {FIRST}: its shares give no secret of its own"):
        session.server.total()


def test_a_client_refuses_messages_out_of_order(played: Played) -> None:
    """At each stage those of the other stages; and none twice."""
    session = Played().session
    assert {state.stage for state in session.secrets.values()} == {"answered"}
    steps: dict[str, Callable[[Any, Any], Any]] = {
        "key-shares": client.share,
        "masked-vector": lambda state, message: client.mask(state, message, session.vectors[FIRST]),
        "unmasking": client.unmask,
    }
    stages = {kind: played.secrets[kind] for kind in steps} | {"end": session.secrets[FIRST]}
    for at, state in stages.items():
        for kind, step in steps.items():
            if kind != at:
                with pytest.raises(HashfedError, match="arrived when the client had"):
                    step(state, played.questions[kind][FIRST])


def test_nothing_secret_is_left_after_the_answer(played: Played) -> None:
    """And after its vector no client has its own keys any more."""
    masked, answered = played.secrets["unmasking"], played.session.secrets[FIRST]
    assert (masked.share_key, masked.mask_key, masked.seed) == (b"", b"", b"")
    assert all(len(pair) == 66 for pair in masked.held)
    assert (answered.share_key, answered.mask_key, answered.seed, answered.held) == (b"", b"", b"", ())


def changed(array: np.ndarray, at: int = 0) -> np.ndarray:
    """With one bit flipped."""
    found = array.copy()
    found.reshape(-1)[at] ^= 1
    return found


def refuse_part(played: Played, part: RosterPart, why: str, demands: Demands = NO_DEMANDS) -> None:
    state = played.secrets["key-shares"]
    with pytest.raises(HashfedError, match=why) as refused:
        client.share(state, part, demands)
    assert "\n" not in str(refused.value)


def test_a_client_refuses_a_roster_that_is_not_its_own(played: Played, other_round: Played) -> None:
    part: RosterPart = played.questions["key-shares"][FIRST]
    refuse_part(played, other_round.questions["key-shares"][FIRST], "of round 8: must be of round 7")
    refuse_part(played, replace(part, context=changed(part.context)), "of another sum than update of round 7")
    for at in (0, 31, 32, 63):
        refuse_part(
            played, replace(part, own_keys=changed(part.own_keys, at)), "own_keys are not this client's"
        )
    for position in (-1, 5):
        wrong = np.array([position], np.int32)
        refuse_part(played, replace(part, position=wrong), f"position = {position} of 5 clients")
    refuse_part(played, replace(part, position=np.array([0])), "must be int32")
    keys = part.neighbour_keys.copy()
    keys[1, 1] = keys[0, 1]
    refuse_part(played, replace(part, neighbour_keys=keys), "neighbour 2 has a key that another has")
    keys[1, 1] = part.own_keys[1]
    refuse_part(played, replace(part, neighbour_keys=keys), "neighbour 2 has a key that another has")
    refuse_part(played, replace(part, neighbour_keys=keys[:-1]), "neighbour_keys = uint8")
    keys[1] = 0
    keys[1, 1, 0] = 1
    refuse_part(played, replace(part, neighbour_keys=keys), "a key of neighbour 2 is of low order")


def test_a_client_refuses_parameters_that_protect_it_less(played: Played) -> None:
    part: RosterPart = played.questions["key-shares"][FIRST]
    refuse_part(played, replace(part, threshold=2), "threshold of shares = 2: must be from 3 to 4")
    refuse_part(played, replace(part, threshold=5), "threshold of shares = 5: must be from 3 to 4")
    refuse_part(played, replace(part, clients=2, neighbours=1), "clients of a sum under masks = 2")
    refuse_part(played, replace(part, neighbours=3), "3 neighbours of each of 5 clients")
    refuse_part(played, replace(part, least_survivors=2), "least survivors = 2: must be from 3 to 5")
    refuse_part(played, replace(part, value_bits=31), "bits of a sum of 5 clients = 34")
    refuse_part(played, replace(part, length=0), "length of the vector = 0")
    refuse_part(played, part, "a roster of 5 clients: must have at least 6", Demands(least_clients=6))
    refuse_part(
        played, part, "least survivors = 3: must be at least 4", Demands(least_survivors=4, corrupt=0)
    )
    refuse_part(
        played,
        part,
        r"threshold of shares = 3 of 4 neighbours: must be at least 4 where 0.4 of 5 clients may be corrupt",
        Demands(corrupt=0.4),
    )


def refuse_inbox(played: Played, inbox: Inbox, why: str) -> None:
    state = played.secrets["masked-vector"]
    with pytest.raises(HashfedError, match=why):
        client.mask(state, inbox, played.session.vectors[FIRST])


def test_a_client_refuses_an_inbox_that_was_tampered_with(played: Played, other_round: Played) -> None:
    inboxes = played.questions["masked-vector"]
    inbox: Inbox = inboxes[FIRST]
    refuse_inbox(played, other_round.questions["masked-vector"][FIRST], "of round 8: must be of round 7")
    refuse_inbox(played, replace(inbox, session=changed(inbox.session)), "of another session")
    for at in (0, 11, 12, 93):
        refuse_inbox(
            played, replace(inbox, boxes=changed(inbox.boxes, at)), "neighbour 1 are not what it encry"
        )
    refuse_inbox(
        played, replace(inbox, boxes=inboxes[SECOND].boxes), "are not what it encrypted for this client"
    )
    refuse_inbox(played, replace(inbox, boxes=inbox.boxes[::-1]), "are not what it encrypted for this client")
    for at in (0, 16, 31):
        forged = replace(inbox, commitments=changed(inbox.commitments, at))
        refuse_inbox(played, forged, "neighbour 1 are not what it committed to")
    refuse_inbox(played, replace(inbox, arrived=inbox.arrived * 2), "arrived = 2 of neighbour 1")
    refuse_inbox(played, replace(inbox, arrived=inbox.arrived[:2]), "arrived = uint8")
    few = inbox.arrived.copy()
    few[:2] = 0
    refuse_inbox(played, replace(inbox, arrived=few), "2 neighbours take part, must be at least 3")


def test_a_box_is_bound_to_session_sender_and_receiver(played: Played) -> None:
    state = played.secrets["masked-vector"]
    place, inbox = state.known_place, played.questions["masked-vector"][FIRST]
    agreed = client._agreed(state.share_key, place, client.SHARE_KEY)[0]
    key, bound = client._box_key(place.session, agreed, 1, 0)
    box = inbox.boxes[0].tobytes()
    assert unseal(key, box, bound) is not None
    assert bound == place.session.digest + bytes([1, 0, 0, 0]) + bytes([0, 0, 0, 0])
    for other in (b"", bound[:32], bytes(32) + bound[32:], bound[:32] + bytes(8)):
        assert unseal(key, box, other) is None
    assert len({key, *(client._box_key(place.session, agreed, *way)[0] for way in ((0, 1), (1, 2)))}) == 3


def test_a_client_refuses_vectors_that_would_overflow(played: Played) -> None:
    state, inbox = played.secrets["masked-vector"], played.questions["masked-vector"][FIRST]
    for wrong in ([0, 0, 128], [-129, 0, 0]):
        with pytest.raises(HashfedError, match=r"not from -128 to 127 \(8 bits\)"):
            client.mask(state, inbox, np.array(wrong, np.int32))
    for vector in (np.zeros(3, np.int64), np.zeros(4, np.int32), np.zeros((3, 1), np.int32)):
        with pytest.raises(HashfedError, match=r"must be int32 \(3,\)"):
            client.mask(state, inbox, vector)


def ask(played: Played, alive: set[int], least: int = 3) -> Any:
    state = played.secrets["unmasking"]
    place = state.known_place
    place = replace(place, parameters=replace(place.parameters, least_survivors=least))
    question: Survivors = played.questions["unmasking"][FIRST]
    question = replace(question, alive=pack_positions(alive, CLIENTS))
    return client.unmask(replace(state, place=place), question)


def test_a_client_helps_to_unmask_nothing_below_its_thresholds(played: Played) -> None:
    """The first is at position 0; its neighbours are all others, its threshold 3."""
    with pytest.raises(HashfedError, match="2 neighbours, must be at least 3"):
        ask(played, {0, 1, 2})
    with pytest.raises(HashfedError, match="2 clients, must be at least 3"):
        ask(played, {0, 1})
    with pytest.raises(HashfedError, match="this client is not among them"):
        ask(played, {1, 2, 3, 4})
    with pytest.raises(HashfedError, match="4 clients, must be at least 5"):
        ask(played, {0, 1, 2, 3}, least=5)
    assert ask(played, {0, 1, 2, 3})[0].stage == "answered"
    question: Survivors = played.questions["unmasking"][FIRST]
    state = played.secrets["unmasking"]
    for alive in (question.alive | 32, question.alive | 128):
        with pytest.raises(HashfedError, match=r"position [57] of a roster of 5 clients"):
            client.unmask(state, replace(question, alive=alive))
    silent = replace(state, held=(b"", *state.held[1:]))
    with pytest.raises(HashfedError, match="neighbour 1 took no part"):
        client.unmask(silent, question)


def test_a_client_tells_one_kind_of_share_of_each_neighbour(played: Played) -> None:
    """Of each that is left the seed's, of each that is not the key's; and nobody's twice."""
    held = played.secrets["unmasking"].held
    for alive in ({0, 1, 2, 3, 4}, {0, 1, 2, 3}, {0, 2, 3, 4}):
        answered, message = ask(played, alive)
        for at, pair in enumerate(held):
            expected = pair[:33] if at + 1 in alive else pair[33:]
            assert message.shares[at].tobytes() == expected
        with pytest.raises(HashfedError, match="arrived when the client had answered"):
            client.unmask(answered, played.questions["unmasking"][FIRST])
