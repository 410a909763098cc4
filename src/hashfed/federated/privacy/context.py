"""What every seed of a session is bound to: another run, round, label, roster or parameter, other masks."""

import hashlib
from dataclasses import dataclass

from hashfed.federated.privacy.parameters import Parameters
from hashfed.federated.privacy.primitives import derive

VERSION = b"hashfed sum under masks 1"
"""Of the protocol: of its messages, derivations and streams."""
DIGEST = 32
"""Bytes of a digest."""
NOTHING = bytes(DIGEST)
"""Where the context says all that vectors are made from."""
COMMITMENT = 16
"""Bytes that stand for a share until it is told."""


@dataclass(frozen=True)
class Context:
    """What a sum is for.

    Attributes:
        run: digest, 32 bytes, of the run and of the model at the start of the round.
        round: of the exchange, ≥ 0.
        label: which of the round's sums, and which attempt at it.
        rows: digest, 32 bytes, of the layout of the vector: of the rows and of all else that it holds.

    """

    run: bytes
    round: int
    label: str
    rows: bytes

    def __post_init__(self) -> None:
        """Refuse digests of another length."""
        if len(self.run) != DIGEST or len(self.rows) != DIGEST:
            raise ValueError(f"digests of {len(self.run)} and {len(self.rows)} bytes: must be of {DIGEST}")

    def digest(self) -> bytes:
        """32 bytes that stand for all of it, and for the protocol's version."""
        return digest(VERSION, b"context", self.run, number(self.round), self.label.encode(), self.rows)


@dataclass(frozen=True)
class Session:
    """A sum whose roster is known.

    Attributes:
        digest: 32 bytes that stand for the context, the roster and the parameters.

    """

    digest: bytes

    @classmethod
    def of(cls, context: bytes, roster: bytes, graph: bytes, parameters: Parameters) -> "Session":
        """Of the digest of a context, the digest of a roster, the seed of a graph, and parameters."""
        sizes = [number(value) for value in vars(parameters).values()]
        return cls(digest(VERSION, b"session", context, roster, graph, *sizes))

    def bound_to(self, told: bytes) -> "Session":
        """The same sum, of vectors made from what ``told`` (32 bytes) stands for: its masks are others.

        Keys and shares go before anybody knows the round's model. A client that was sent another model than
        the others has masks that cancel with nobody's.
        """
        if len(told) != DIGEST:
            raise ValueError(f"a digest of {len(told)} bytes: must be of {DIGEST}")
        if told == NOTHING:
            return self
        return Session(digest(VERSION, b"bound", self.digest, told))

    def seed(self, secret: bytes, purpose: str, *positions: int) -> bytes:
        """A key of 32 bytes for one purpose between clients at these positions."""
        places = b"".join(number(position) for position in positions)
        return derive(secret, VERSION + b"\0" + purpose.encode() + b"\0" + self.digest + places)

    def commitment(self, kind: str, owner: int, holder: int, share: bytes) -> bytes:
        """16 bytes that stand for a share: nobody can name another share with the same."""
        return digest(self.digest, kind.encode(), number(owner), number(holder), share)[:COMMITMENT]


def digest(*parts: bytes) -> bytes:
    """SHA-256 of parts and their lengths, so that no other parts have the same text."""
    found = hashlib.sha256()
    for part in parts:
        found.update(number(len(part)) + part)
    return found.digest()


def number(value: int) -> bytes:
    """An integer as 8 bytes."""
    return value.to_bytes(8, "little")
