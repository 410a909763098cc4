"""The server's side of a sum under masks: one object per session, from messages to messages."""

import secrets
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal

import numpy as np

from hashfed.errors import HashfedError
from hashfed.federated.privacy.client import KEY_SHARE, MASK_KEY, SEED_SHARE, pair_seed
from hashfed.federated.privacy.context import COMMITMENT, NOTHING, Context, Session
from hashfed.federated.privacy.masks import add_mask, lowest_bits, subtract_mask
from hashfed.federated.privacy.messages import (
    BOX,
    KEYS,
    Inbox,
    KeyShares,
    MaskedVector,
    PublicKeys,
    RosterPart,
    Survivors,
    Unmasking,
    as_array,
    as_bytes,
    check_context,
    check_session,
    key_pair,
    pack_positions,
    rows,
)
from hashfed.federated.privacy.packing import unpack
from hashfed.federated.privacy.parameters import Parameters
from hashfed.federated.privacy.primitives import KEY, agree, public_key
from hashfed.federated.privacy.roster import Roster
from hashfed.federated.privacy.shamir import SHARE, join

Stage = Literal["keys", "shares", "vectors", "answers", "over"]
"""What the server takes."""


class AbortedError(HashfedError):
    """A sum that cannot be unmasked: nothing of it is known, and its session is over."""


@dataclass(frozen=True)
class _Sent:
    """What a client sent of its shares: by neighbour, ascending."""

    boxes: list[bytes]
    commitments: list[bytes]


@contextmanager
def _of(name: str) -> Iterator[None]:
    """Refusals within the block name the client."""
    try:
        yield
    except HashfedError as error:
        raise HashfedError(f"client {name}: {error}") from None


def _check_key(key: bytes) -> None:
    """Refuse a public key that gives the same secret with every other."""
    if agree(bytes([1] * KEY), [key]) == [None]:
        raise HashfedError("public-keys: a key is of low order")


def signed(numbers: np.ndarray, bits: int) -> np.ndarray:
    """Numbers (m,) uint32 modulo 2^bits as those nearest to zero, int32, in two's complement."""
    shift = np.uint32(32 - bits)
    return (numbers << shift).view(np.int32) >> np.int32(32 - bits)


class SecureSum:
    """Takes a session's messages, and gives the sum.

    A message that is late, early, a second one, of another session or of another shape, or whose keys or
    shares are not what they must be, is refused with a ``HashfedError`` that names its client; the session
    stays as it was, so that a right one is still taken. Who sent a message is for the transport to know.

    Methods in order: ``take_keys`` of clients, ``rosters``; ``take_shares``, ``inboxes``; ``take_vector``,
    ``survivors``; ``take_answer``, ``total``. Each second one ends its stage, with whatever arrived.
    """

    def __init__(
        self,
        context: Context,
        names: Iterable[str],
        choose: Callable[[int], Parameters],
        random_bytes: Callable[[int], bytes] = secrets.token_bytes,
    ) -> None:
        """A session of these clients or fewer.

        Args:
            context: of the sum.
            names: of the clients that are asked.
            choose: parameters for a number of clients (``parameters.choose``).
            random_bytes: draws the graph. The system's, but in tests.

        """
        self.context = context
        self.stage: Stage = "keys"
        self._asked = frozenset(names)
        self._choose = choose
        self._random_bytes = random_bytes
        self._keys: dict[str, bytes] = {}
        self._position: dict[str, int] = {}
        self._shares: dict[int, _Sent] = {}
        self._answers: dict[int, dict[int, bytes]] = {}
        """Shares told, by whose secret they are of and who told them."""
        self._answered: set[int] = set()
        self._taking_part: frozenset[int] = frozenset()
        self._alive: set[int] = set()

    def take_keys(self, name: str, message: PublicKeys) -> None:
        """A client's keys.

        Raises:
            HashfedError: see above; also where the keys are none, or another client's.

        """
        with _of(name):
            self._need("keys", message.kind, name in self._asked, name in self._keys)
            check_context(message, self.context)
            keys = as_bytes(message, "keys", KEYS, KEY)
            pair = key_pair(keys)
            known = {key for other in self._keys.values() for key in key_pair(other)}
            if pair[0] == pair[1] or known & set(pair):
                raise HashfedError("public-keys: a key is there already")
            for key in pair:
                _check_key(key)
            self._keys[name] = keys

    def rosters(self) -> dict[str, RosterPart]:
        """End of the keys: what each client that sent some is told, by name.

        Raises:
            AbortedError: where they are too few for a sum.

        """
        self._end("keys")
        try:
            parameters = self._choose(len(self._keys))
            self.roster = Roster.of(self._keys, self._random_bytes(KEY), parameters)
        except HashfedError as error:
            raise self._abort(str(error)) from None
        self.parameters = parameters
        self.session: Session = self.roster.session(self.context)
        self._position = {name: position for position, name in enumerate(self.roster.names)}
        self.stage = "shares"
        return self.roster.parts(self.context)

    def take_shares(self, name: str, message: KeyShares) -> None:
        """A client's shares for its neighbours.

        Raises:
            HashfedError: see above.

        """
        with _of(name):
            position = self._known("shares", message, name, self._shares)
            count = self.parameters.neighbours
            self._shares[position] = _Sent(
                rows(message, "boxes", count, BOX), rows(message, "commitments", count, KEYS, COMMITMENT)
            )

    def inboxes(self, told: bytes = NOTHING) -> dict[str, Inbox]:
        """End of the shares: who takes part from now on, by name, and what neighbours made for each.

        Those with fewer neighbours than the threshold left cannot be unmasked, and take no part.

        Args:
            told: 32 bytes that stand for what clients make their vectors from.

        Raises:
            AbortedError: where too few are left.

        """
        self._end("shares")
        near, threshold = self.roster.neighbours, self.parameters.threshold
        left, before = set(self._shares), -1
        while len(left) != before:
            before = len(left)
            left = {position for position in left if len(left.intersection(near[position])) >= threshold}
        self._enough(left, "shares arrived of")
        self._taking_part = frozenset(left)
        self._sum = np.zeros(self.parameters.length, np.uint32)
        self._bound = self.session.bound_to(told)
        self.stage = "vectors"
        return {self.roster.names[position]: self._inbox(position) for position in sorted(left)}

    def take_vector(self, name: str, message: MaskedVector) -> None:
        """A client's vector under its masks, which is added to the sum and not kept.

        Raises:
            HashfedError: see above.

        """
        with _of(name):
            position = self._known("vectors", message, name, self._alive)
            if position not in self._taking_part:
                raise HashfedError(f"{message.kind}: its shares did not arrive in time")
            numbers = unpack(message.vector, self.parameters.length, self.parameters.bits)
            np.add(self._sum, numbers, out=self._sum)
            self._alive.add(position)

    def survivors(self) -> dict[str, Survivors]:
        """End of the vectors: the question to each client whose vector arrived, by name.

        Raises:
            AbortedError: where too few did, or one that did has too few neighbours left to unmask it.

        """
        self._end("vectors")
        self._enough(self._alive, "vectors arrived of")
        names, near, threshold = self.roster.names, self.roster.neighbours, self.parameters.threshold
        for position in sorted(self._secrets_needed()):
            left = len(self._alive.intersection(near[position]))
            if left < threshold:
                raise self._abort(
                    f"client {names[position]}: {left} neighbours are left, must be at least {threshold}"
                )
        self.stage = "answers"
        alive = pack_positions(self._alive, self.parameters.clients)
        question = Survivors(self.context.round, as_array(self.session.digest), alive)
        return {names[position]: question for position in sorted(self._alive)}

    def take_answer(self, name: str, message: Unmasking) -> None:
        """What a client tells of its neighbours' secrets.

        Raises:
            HashfedError: see above; also where a share is not what its owner committed to.

        """
        with _of(name):
            position = self._known("answers", message, name, self._answered)
            if position not in self._alive:
                raise HashfedError(f"{message.kind}: its vector did not arrive in time")
            shares = rows(message, "shares", self.parameters.neighbours, SHARE)
            told: dict[int, bytes] = {}
            for other, share in zip(self.roster.neighbours[position], shares, strict=True):
                if other in self._taking_part:
                    self._check_share(other, position, share)
                    told[other] = share
            for other, share in told.items():
                self._answers.setdefault(other, {})[position] = share
            self._answered.add(position)

    @property
    def complete(self) -> bool:
        """Whether the answers that arrived give the sum."""
        return self.stage == "answers" and self._unknown() is None

    def total(self) -> np.ndarray:
        """End of the answers, and of the session: the sum of all vectors that arrived.

        Returns:
            (m,) int32, in two's complement: it has at most 32 bits.

        Raises:
            AbortedError: where too few answers arrived, or shares give no secret.

        """
        self._end("answers")
        unknown = self._unknown()
        threshold = self.parameters.threshold
        if unknown is not None:
            raise self._abort(
                f"client {self.roster.names[unknown]}: {len(self._answers.get(unknown, {}))} neighbours told "
                f"their shares of its secret, must be at least {threshold}"
            )
        add, subtract = self._masks(
            {
                position: self._join(position, dict(list(self._answers[position].items())[:threshold]))
                for position in sorted(self._secrets_needed())
            }
        )
        for seed in add:
            add_mask(self._sum, seed)
        for seed in subtract:
            subtract_mask(self._sum, seed)
        found, bits = self._sum, self.parameters.bits
        lowest_bits(found, bits)
        self._forget()
        return signed(found, bits)

    def _masks(self, known: Mapping[int, bytes]) -> tuple[list[bytes], list[bytes]]:
        """Seeds of the masks to add and to subtract, of what was learnt by position."""
        add: list[bytes] = []
        subtract: list[bytes] = []
        for position, secret in known.items():
            if position in self._alive:
                subtract.append(self._bound.seed(secret, "self", position))
                continue
            left = [other for other in self.roster.neighbours[position] if other in self._alive]
            keys = (key_pair(self.roster.keys[other])[MASK_KEY] for other in left)
            for other, agreed in zip(left, agree(secret, keys), strict=True):
                if agreed is not None:  # as of every key that was taken
                    seed = pair_seed(self._bound, agreed, position, other)
                    (subtract if other < position else add).append(seed)
        return add, subtract

    def _join(self, position: int, shares: Mapping[int, bytes]) -> bytes:
        """A client's secret from its shares by who told them."""
        found = join({holder + 1: share for holder, share in shares.items()})
        right = found is not None and (
            position in self._alive or public_key(found) == key_pair(self.roster.keys[position])[MASK_KEY]
        )
        if found is None or not right:
            raise self._abort(f"client {self.roster.names[position]}: its shares give no secret of its own")
        return found

    def _secrets_needed(self) -> set[int]:
        """Of whom a secret must be known: of who is left, and of who is not but has a neighbour left."""
        near = self.roster.neighbours
        return {
            position
            for position in self._taking_part
            if position in self._alive or self._alive.intersection(near[position])
        }

    def _unknown(self) -> int | None:
        """Somebody whose secret too few shares were told of."""
        threshold = self.parameters.threshold
        for position in sorted(self._secrets_needed()):
            if len(self._answers.get(position, {})) < threshold:
                return position
        return None

    def _inbox(self, position: int) -> Inbox:
        near = self.roster.neighbours
        arrived, boxes, commitments = bytearray(), [], []
        for other in near[position]:
            there = other in self._taking_part
            arrived.append(there)
            place = near[other].index(position) if there else 0
            sent = self._shares[other] if there else None
            boxes.append(bytes(BOX) if sent is None else sent.boxes[place])
            commitments.append(bytes(KEYS * COMMITMENT) if sent is None else sent.commitments[place])
        return Inbox(
            self.context.round,
            as_array(self.session.digest),
            as_array(bytes(arrived)),
            as_array(b"".join(boxes), len(boxes), BOX),
            as_array(b"".join(commitments), len(boxes), KEYS, COMMITMENT),
        )

    def _check_share(self, owner: int, holder: int, share: bytes) -> None:
        alive = owner in self._alive
        found = self.session.commitment(SEED_SHARE if alive else KEY_SHARE, owner, holder, share)
        both = self._shares[owner].commitments[self.roster.neighbours[owner].index(holder)]
        if found != (both[:COMMITMENT] if alive else both[COMMITMENT:]):
            name = self.roster.names[owner]
            raise HashfedError(
                f"unmasking: the share of client {name}'s secret is not what that committed to"
            )

    def _known(
        self,
        stage: Stage,
        message: KeyShares | MaskedVector | Unmasking,
        name: str,
        there: Mapping[int, object] | set[int],
    ) -> int:
        """The position of who sent a message that is in time, the first of its kind, and of this session."""
        position = self._position.get(name, -1)
        self._need(stage, message.kind, name in self._asked, position in there)
        if position < 0:
            raise HashfedError(f"{message.kind}: its keys did not arrive in time")
        check_session(message, self.context, self.session)
        return position

    def _need(self, stage: Stage, kind: str, asked: bool, again: bool) -> None:
        if not asked:
            raise HashfedError(f"{kind}: it is not of this sum")
        if again:
            raise HashfedError(f"{kind}: it sent one already")
        if self.stage != stage:
            raise HashfedError(f"{kind}: arrived while the server takes {self.stage}")

    def _end(self, stage: Stage) -> None:
        if self.stage != stage:
            raise ValueError(f"the session takes {self.stage}: it cannot end {stage}")

    def _enough(self, left: set[int], what: str) -> None:
        if len(left) < self.parameters.least_survivors:
            raise self._abort(
                f"{what} {len(left)} clients, must be of at least {self.parameters.least_survivors}"
            )

    def _forget(self) -> None:
        """End of the session: of what was received nothing is kept."""
        self.stage = "over"
        self._sum = np.zeros(0, np.uint32)
        self._shares, self._answers = {}, {}

    def _abort(self, why: str) -> AbortedError:
        self._forget()
        return AbortedError(f"round {self.context.round}: no sum of {self.context.label}: {why}")
