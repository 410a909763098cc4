"""The messages of a sum under masks.

client → server   PublicKeys      of two key pairs that it has just made
server → client   RosterPart      parameters, its place, its neighbours' keys
client → server   KeyShares       shares of its secrets, each encrypted for one neighbour
server → client   Inbox           those that its neighbours made for it
client → server   MaskedVector    its vector under masks
server → client   Survivors       whose vectors arrived; the same for all
client → server   Unmasking       one share for each neighbour: of its seed, or if it dropped out of its key

Clients have no names here but positions in the roster, and neighbours go by ascending position. Of a
session's parameters follows the size of every message: what a client holds changes none.
"""

from dataclasses import dataclass
from typing import final

import numpy as np

from hashfed.errors import HashfedError
from hashfed.federated.codec import Message
from hashfed.federated.privacy.context import COMMITMENT, DIGEST, Context, Session
from hashfed.federated.privacy.packing import packed_size
from hashfed.federated.privacy.parameters import Parameters
from hashfed.federated.privacy.primitives import KEY, NONCE, TAG
from hashfed.federated.privacy.shamir import SHARE

KEYS = 2
"""Public keys of a client: to encrypt shares for it, and for masks."""
BOX = NONCE + 2 * SHARE + TAG
"""Bytes of an encrypted pair of shares."""


@final
@dataclass(frozen=True)
class PublicKeys(Message, kind="public-keys"):
    """A client's fresh keys.

    Attributes:
        round: of the exchange.
        context: (32,) uint8 digest of the session's context.
        keys: (2, 32) uint8, to encrypt shares and for masks.

    """

    round: int
    context: np.ndarray
    keys: np.ndarray


@final
@dataclass(frozen=True)
class RosterPart(Message, kind="roster-part"):
    """What a client needs of the roster.

    Attributes:
        round: of the exchange.
        context: (32,) uint8 digest of the session's context.
        clients: n.
        neighbours: k.
        threshold: t.
        least_survivors: a sum of fewer is not unmasked.
        value_bits: of what one client adds.
        length: m.
        roster: (32,) uint8 digest of all names and keys.
        graph: (32,) uint8 seed of the graph of neighbours.
        position: (1,) int32, the receiver's.
        own_keys: (2, 32) uint8, the receiver's as the server has them.
        neighbour_keys: (k, 2, 32) uint8.

    """

    round: int
    context: np.ndarray
    clients: int
    neighbours: int
    threshold: int
    least_survivors: int
    value_bits: int
    length: int
    roster: np.ndarray
    graph: np.ndarray
    position: np.ndarray
    own_keys: np.ndarray
    neighbour_keys: np.ndarray

    @property
    def parameters(self) -> Parameters:
        """Of the session.

        Raises:
            HashfedError: where no session can have them.

        """
        return Parameters(
            self.clients,
            self.neighbours,
            self.threshold,
            self.least_survivors,
            self.value_bits,
            self.length,
        )


@final
@dataclass(frozen=True)
class KeyShares(Message, kind="key-shares"):
    """A client's secrets, shared among its neighbours.

    Attributes:
        round: of the exchange.
        session: (32,) uint8 digest.
        boxes: (k, 94) uint8, for each neighbour a share of the seed of its own mask and one of its key for
            masks, encrypted.
        commitments: (k, 2, 16) uint8 that stand for these shares until they are told.

    """

    round: int
    session: np.ndarray
    boxes: np.ndarray
    commitments: np.ndarray


@final
@dataclass(frozen=True)
class Inbox(Message, kind="inbox"):
    """What a client's neighbours made for it.

    Attributes:
        round: of the exchange.
        session: (32,) uint8 digest.
        arrived: (k,) uint8, 1 for each neighbour that takes part from now on, else 0.
        boxes: (k, 94) uint8; zeros where none arrived.
        commitments: (k, 2, 16) uint8; zeros where none arrived.

    """

    round: int
    session: np.ndarray
    arrived: np.ndarray
    boxes: np.ndarray
    commitments: np.ndarray


@final
@dataclass(frozen=True)
class MaskedVector(Message, kind="masked-vector"):
    """A client's vector under its masks.

    Attributes:
        round: of the exchange.
        session: (32,) uint8 digest.
        vector: uint8, the m numbers modulo 2^bits (``packing``).

    """

    round: int
    session: np.ndarray
    vector: np.ndarray


@final
@dataclass(frozen=True)
class Survivors(Message, kind="survivors"):
    """Whose vectors arrived.

    Attributes:
        round: of the exchange.
        session: (32,) uint8 digest.
        alive: (⌈n / 8⌉,) uint8, a bit for each position, the lowest first.

    """

    round: int
    session: np.ndarray
    alive: np.ndarray


@final
@dataclass(frozen=True)
class Unmasking(Message, kind="unmasking"):
    """What a client tells of its neighbours' secrets.

    Attributes:
        round: of the exchange.
        session: (32,) uint8 digest.
        shares: (k, 33) uint8, one for each neighbour: of the seed of its own mask where its vector arrived,
            of its key for masks where it did not; zeros where it took no part after the keys.

    """

    round: int
    session: np.ndarray
    shares: np.ndarray


def outlines(parameters: Parameters, round: int) -> dict[str, Message]:
    """A message of each kind, by kind: without content, and as large as all of its kind in such a session."""
    empty = np.zeros(DIGEST, np.uint8)
    degree = parameters.neighbours
    boxes = np.zeros((degree, BOX), np.uint8)
    commitments = np.zeros((degree, KEYS, COMMITMENT), np.uint8)
    made = (
        PublicKeys(round, empty, np.zeros((KEYS, KEY), np.uint8)),
        RosterPart(
            round=round,
            context=empty,
            **vars(parameters),
            roster=empty,
            graph=empty,
            position=np.zeros(1, np.int32),
            own_keys=np.zeros((KEYS, KEY), np.uint8),
            neighbour_keys=np.zeros((degree, KEYS, KEY), np.uint8),
        ),
        KeyShares(round, empty, boxes, commitments),
        Inbox(round, empty, np.zeros(degree, np.uint8), boxes, commitments),
        MaskedVector(round, empty, np.zeros(packed_size(parameters.length, parameters.bits), np.uint8)),
        Survivors(round, empty, np.zeros(packed_size(parameters.clients, 1), np.uint8)),
        Unmasking(round, empty, np.zeros((degree, SHARE), np.uint8)),
    )
    return {message.kind: message for message in made}


def check_context(message: PublicKeys | RosterPart, context: Context) -> None:
    """Refuse a message of another round or sum.

    Raises:
        HashfedError: naming what differs.

    """
    _check_round(message, context)
    if as_bytes(message, "context", DIGEST) != context.digest():
        raise HashfedError(
            f"{message.kind} of another sum than {context.label} of round {context.round} of this run"
        )


def check_session(
    message: KeyShares | Inbox | MaskedVector | Survivors | Unmasking, context: Context, session: Session
) -> None:
    """Refuse a message of another round, sum or roster.

    Raises:
        HashfedError: naming what differs.

    """
    _check_round(message, context)
    if as_bytes(message, "session", DIGEST) != session.digest:
        raise HashfedError(f"{message.kind} of another session than {context.label} of round {context.round}")


def _check_round(message: Message, context: Context) -> None:
    if message.round != context.round:
        raise HashfedError(f"{message.kind} of round {message.round}: must be of round {context.round}")


def as_array(data: bytes, *shape: int) -> np.ndarray:
    """Bytes as they travel, uint8."""
    return np.frombuffer(bytearray(data), np.uint8).reshape(shape or (-1,))


def as_bytes(message: Message, field: str, *shape: int) -> bytes:
    """An array of bytes that was received.

    Raises:
        HashfedError: where it has another type or shape, naming it.

    """
    value = getattr(message, field)
    if value.dtype != np.uint8 or value.shape != shape:
        raise HashfedError(
            f"{message.kind}: {field} = {value.dtype} {tuple(value.shape)}: must be uint8 {shape}"
        )
    return bytes(value.tobytes())


def rows(message: Message, field: str, *shape: int) -> list[bytes]:
    """The same, row by row."""
    data = as_bytes(message, field, *shape)
    size = int(np.prod(shape[1:]))
    return [data[at * size : (at + 1) * size] for at in range(shape[0])]


def pack_positions(positions: set[int], clients: int) -> np.ndarray:
    """A set of positions as ``Survivors.alive``."""
    chosen = np.zeros(clients, np.uint8)
    chosen[sorted(positions)] = 1
    return np.packbits(chosen, bitorder="little")


def unpack_positions(message: Survivors, clients: int) -> frozenset[int]:
    """What ``pack_positions`` packed.

    Raises:
        HashfedError: where it is no such set.

    """
    data = np.frombuffer(as_bytes(message, "alive", packed_size(clients, 1)), np.uint8)
    found = np.flatnonzero(np.unpackbits(data, bitorder="little"))
    if len(found) and found[-1] >= clients:
        raise HashfedError(f"survivors: position {found[-1]} of a roster of {clients} clients")
    return frozenset(found.tolist())


def key_pair(keys: bytes) -> tuple[bytes, bytes]:
    """The key to encrypt shares and the key for masks."""
    return keys[:KEY], keys[KEY:]
