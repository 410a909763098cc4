"""What every seed depends on, that messages have one size, and a round whose every byte is frozen."""

import hashlib
from collections.abc import Callable
from dataclasses import fields, replace

import numpy as np
import pytest

from hashfed.errors import HashfedError
from hashfed.federated import wire
from hashfed.federated.codec import Message
from hashfed.federated.privacy import client
from hashfed.federated.privacy.client_secrets import ClientSecrets
from hashfed.federated.privacy.context import Context, Session, digest
from hashfed.federated.privacy.masks import add_mask
from hashfed.federated.privacy.messages import outlines
from hashfed.federated.privacy.parameters import Parameters
from hashfed.federated.privacy.server import SecureSum
from masked_sums import CONTEXT, NO_DEMANDS, drawn, names_of, vectors_of

PARAMETERS = Parameters(5, 4, 3, 3, 8, 3)
SECRET, ROSTER, GRAPH = (bytes(range(start, start + 32)) for start in (0, 50, 100))


def flips(data: bytes) -> list[bytes]:
    """The same with each bit changed."""
    number = int.from_bytes(data, "little")
    return [(number ^ 1 << bit).to_bytes(len(data), "little") for bit in range(8 * len(data))]


def mask_of(
    context: Context = CONTEXT,
    roster: bytes = ROSTER,
    graph: bytes = GRAPH,
    parameters: Parameters = PARAMETERS,
    secret: bytes = SECRET,
    purpose: str = "pair",
    positions: tuple[int, ...] = (0, 1),
) -> bytes:
    """The first numbers of a mask."""
    numbers = np.zeros(4, np.uint32)
    add_mask(
        numbers, Session.of(context.digest(), roster, graph, parameters).seed(secret, purpose, *positions)
    )
    return numbers.tobytes()


def test_every_bit_changes_a_mask() -> None:
    """Of seed, run, rows, round, label, roster, graph; and each parameter, purpose and position."""
    masks = [mask_of()]
    masks += [mask_of(secret=secret) for secret in flips(SECRET)]
    masks += [mask_of(replace(CONTEXT, run=run)) for run in flips(CONTEXT.run)]
    masks += [mask_of(replace(CONTEXT, rows=rows)) for rows in flips(CONTEXT.rows)]
    masks += [mask_of(replace(CONTEXT, round=CONTEXT.round ^ 1 << bit)) for bit in range(63)]
    labels = [label for label in flips(b"update") if max(label) < 128]
    masks += [mask_of(replace(CONTEXT, label=label.decode())) for label in labels]
    masks += [mask_of(roster=roster) for roster in flips(ROSTER)]
    masks += [mask_of(graph=graph) for graph in flips(GRAPH)]
    changes = {
        "clients": 7,
        "neighbours": 3,
        "threshold": 4,
        "least_survivors": 4,
        "value_bits": 9,
        "length": 4,
    }
    assert set(changes) == {field.name for field in fields(Parameters)}
    six = replace(PARAMETERS, clients=6)
    masks += [mask_of(parameters=replace(six, **{name: value})) for name, value in changes.items()]
    masks += [mask_of(purpose=purpose) for purpose in ("self", "shares")]
    masks += [mask_of(positions=positions) for positions in ((0,), (1, 0), (0, 2), (0, 1, 0))]
    assert len(set(masks)) == len(masks) == 1 + 5 * 256 + 63 + 42 + 6 + 2 + 4


def test_no_two_lists_have_one_digest() -> None:
    lists = [[], [b""], [b"", b""], [b"ab"], [b"a", b"b"], [b"", b"ab"], [b"ab", b""]]
    assert len({digest(*parts) for parts in lists}) == len(lists)


def test_every_name_and_key_changes_the_roster() -> None:
    """And another threshold, graph, or round, what all clients' boxes are bound to."""
    server = play()[0]
    roster = server.roster
    others = [replace(roster, names=("x", *roster.names[1:]))]
    others += [replace(roster, keys=(*roster.keys[:4], key)) for key in flips(roster.keys[4])]
    assert len({one.digest() for one in [roster, *others]}) == 1 + 1 + 512


def play(
    context: Context = CONTEXT,
    least: int = 3,
    vectors: dict[str, np.ndarray] | None = None,
    draw_for: Callable[..., Callable[[int], bytes]] = drawn,
    gone: tuple[str, ...] = (),
) -> tuple[SecureSum, dict[str, dict[str, Message]]]:
    """A session of five, with every message by kind and client.

    Those gone send no shares; where there are none, the last sends no vector.
    """
    names, found = names_of(5), vectors or vectors_of(5)
    server = SecureSum(
        context, names, lambda clients: Parameters(clients, 4, 3, least, 8, 3), draw_for("server")
    )
    secrets: dict[str, ClientSecrets] = {}
    sent: dict[str, dict[str, Message]] = {}

    def keep(name: str, state: ClientSecrets, message: Message) -> Message:
        secrets[name] = ClientSecrets.from_bytes(state.to_bytes())
        assert secrets[name] == state
        return sent.setdefault(message.kind, {}).setdefault(name, message)

    for name in names:
        server.take_keys(name, keep(name, *client.advertise(context, draw_for("keys", name))))  # type: ignore[arg-type]
    sent["roster-part"] = dict(server.rosters())
    for name, part in sent["roster-part"].items():
        if name not in gone:
            made = client.share(secrets[name], part, NO_DEMANDS, draw_for("share", name))  # type: ignore[arg-type]
            server.take_shares(name, keep(name, *made))  # type: ignore[arg-type]
    sent["inbox"] = dict(server.inboxes())
    for name in [name for name in names if name not in (gone or names[4:])]:
        masked = client.mask(secrets[name], sent["inbox"][name], found[name])  # type: ignore[arg-type]
        server.take_vector(name, keep(name, *masked))  # type: ignore[arg-type]
    sent["survivors"] = dict(server.survivors())
    for name, question in sent["survivors"].items():
        server.take_answer(name, keep(name, *client.unmask(secrets[name], question)))  # type: ignore[arg-type]
    return server, sent


def test_messages_of_a_kind_have_one_size_and_survive_the_wire() -> None:
    """Whatever a client holds, and whoever drops out."""
    zeros = {name: np.zeros(3, np.int32) for name in names_of(5)}
    sizes: dict[str, set[int]] = {}
    for _, sent in (play(), play(vectors=zeros), play(gone=("c01",)), play(gone=("c04",))):
        for kind, messages in sent.items():
            for message in messages.values():
                data = wire.encode(message)
                sizes.setdefault(kind, set()).add(len(data))
                read = wire.decode(data)
                assert type(read) is type(message)
                assert content(read) == content(message)
    expected = {kind: {wire.size(message)} for kind, message in outlines(PARAMETERS, 7).items()}
    assert sizes == expected
    assert len(sizes) == 7


def content(message: Message) -> bytes:
    """All fields, in order."""
    told = b""
    for field in fields(message):  # type: ignore[arg-type]
        value = getattr(message, field.name)
        told += field.name.encode() + (
            value.tobytes() if isinstance(value, np.ndarray) else str(value).encode()
        )
    return told


FROZEN = {
    "public-keys": "2658222072bd004e",
    "roster-part": "404d0edff0865f89",
    "key-shares": "19c7acef886c5166",
    "inbox": "8312d063fcc97ac3",
    "masked-vector": "2b6a388f003015c2",
    "survivors": "acda81503f267893",
    "unmasking": "a983d12fb553c7ab",
}
"""Digests of the messages of each kind."""


def test_a_whole_round_is_as_it_ever_was() -> None:
    """Every byte of every message, from fixed secrets. What changes one needs another ``context.VERSION``."""
    server, sent = play()
    found = {
        kind: hashlib.sha256(b"".join(content(messages[name]) for name in sorted(messages))).hexdigest()[:16]
        for kind, messages in sent.items()
    }
    vectors = vectors_of(5)
    total = sum(vectors[name] for name in names_of(4))
    np.testing.assert_array_equal(server.total(), total)
    assert found == FROZEN


def test_the_masks_of_another_round_are_others_even_with_the_same_secrets() -> None:
    """Two vectors under the same masks would show their difference."""
    seen: dict[str, set[bytes]] = {}
    contexts = [
        CONTEXT,
        replace(CONTEXT, round=8),
        replace(CONTEXT, label="other"),
        replace(CONTEXT, run=bytes(32)),
        replace(CONTEXT, rows=bytes(32)),
    ]
    runs = [play(context) for context in contexts] + [play(least=4)]
    for _, sent in runs:
        for name, message in sent["masked-vector"].items():
            seen.setdefault(name, set()).add(message.vector.tobytes())  # type: ignore[attr-defined]
    assert {name: len(vectors) for name, vectors in seen.items()} == dict.fromkeys(names_of(4), len(runs))


def test_nothing_that_is_drawn_is_used_twice() -> None:
    """By default the system draws: the same client has other keys, seed and shares each time."""
    first, keys = client.advertise(CONTEXT)
    second, others = client.advertise(CONTEXT)
    assert len({first.share_key, first.mask_key, second.share_key, second.mask_key}) == 4
    assert len({row.tobytes() for row in [*keys.keys, *others.keys]}) == 4
    part = play()[1]["roster-part"]["c00"]
    own = client.advertise(CONTEXT, drawn("keys", "c00"))[0]
    made = [client.share(own, part, NO_DEMANDS) for _ in range(2)]  # type: ignore[arg-type]
    assert len({state.seed for state, _ in made} | {own.share_key, own.mask_key}) == 4
    boxes = [box.tobytes() for _, message in made for box in message.boxes]
    assert len({box[:12] for box in boxes}) == len(boxes), "nonces"
    commitments = [row.tobytes() for _, message in made for row in message.commitments.reshape(-1, 16)]
    assert len(set(commitments)) == len(commitments)


def test_a_masked_vector_says_nothing_of_its_numbers() -> None:
    """Of 4,000 equal numbers each bit is set in about half, and no number has its own."""
    names, length = names_of(3), 4000
    vectors = {name: np.full(length, 5, np.int32) for name in names}
    server = SecureSum(CONTEXT, names, lambda n: Parameters(n, 2, 2, 3, 16, length), drawn("server"))
    state, keys = client.advertise(CONTEXT, drawn("keys", 0))
    server.take_keys(names[0], keys)
    others = {name: client.advertise(CONTEXT, drawn("keys", name)) for name in names[1:]}
    for name, (_, message) in others.items():
        server.take_keys(name, message)
    states = {names[0]: state} | {name: secrets for name, (secrets, _) in others.items()}
    for name, part in server.rosters().items():
        states[name], shares = client.share(states[name], part, NO_DEMANDS, drawn("share", name))
        server.take_shares(name, shares)
    seen = []
    for name, inbox in server.inboxes().items():
        states[name], masked = client.mask(states[name], inbox, vectors[name])
        bits = np.unpackbits(masked.vector, bitorder="little")[: 18 * length].reshape(length, 18)
        assert (np.abs(bits.mean(0) - 0.5) < 5 * 0.5 / np.sqrt(length)).all()
        seen.append(bits)
        server.take_vector(name, masked)
    for i, j in ((0, 1), (0, 2), (1, 2)):
        same = (seen[i] == seen[j]).mean()
        assert abs(same - 0.5) < 5 * 0.5 / np.sqrt(18 * length)
    for name, question in server.survivors().items():
        server.take_answer(name, client.unmask(states[name], question)[1])
    np.testing.assert_array_equal(server.total(), np.full(length, 15))


def test_secrets_are_not_shown() -> None:
    state, _ = client.advertise(CONTEXT, drawn("keys", "c00"))
    part = play()[1]["roster-part"]["c00"]
    shared, _ = client.share(state, part, NO_DEMANDS)  # type: ignore[arg-type]
    for secret in (shared.share_key, shared.mask_key, shared.seed):
        assert repr(secret) not in repr(shared)
        assert secret.hex() not in repr(shared)


@pytest.mark.parametrize("data", [b"", b"{}", b"[]", b'{"context": {}, "place": null}', b"\xff"])
def test_other_secrets_are_refused(data: bytes) -> None:
    with pytest.raises(HashfedError, match=f"secrets of {len(data)} bytes: not those of a client"):
        ClientSecrets.from_bytes(data)


def test_secrets_of_no_stage_are_refused() -> None:
    data = client.advertise(CONTEXT)[0].to_bytes().replace(b"advertised", b"surprised")
    with pytest.raises(HashfedError, match="not those of a client \\(its stage\\)"):
        ClientSecrets.from_bytes(data)


def test_a_context_has_digests() -> None:
    with pytest.raises(ValueError, match="digests of 31 and 32 bytes"):
        Context(bytes(31), 0, "", bytes(32))
