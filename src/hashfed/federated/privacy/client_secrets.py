"""What a client keeps to itself between the messages of a sum."""

import json
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Literal, get_args

from hashfed.errors import HashfedError
from hashfed.federated.privacy.context import Context, Session
from hashfed.federated.privacy.parameters import Parameters

Stage = Literal["advertised", "shared", "masked", "answered"]
"""What a client did last."""


@dataclass(frozen=True)
class Place:
    """A client's place in the roster.

    Attributes:
        parameters: of the session.
        session: digest.
        position: its own.
        neighbours: positions, ascending.
        keys: of each neighbour, 64 bytes: to encrypt shares, and for masks.

    """

    parameters: Parameters
    session: Session
    position: int
    neighbours: tuple[int, ...]
    keys: tuple[bytes, ...] = field(repr=False)


@dataclass(frozen=True)
class ClientSecrets:
    """Keys, seed and shares of one client in one session; they never leave it but as the messages say.

    A step takes these and gives the next: who keeps them must keep the new ones before the message goes, and
    forget the old. With old ones a step could be made twice, and what two answers tell together is what one
    must not.

    Attributes:
        context: of the session.
        stage: what the client did last.
        share_key: private, with which neighbours' shares are decrypted.
        mask_key: private, of which the masks with neighbours are made.
        seed: of its own mask.
        place: in the roster, once it knows.
        held: of each neighbour its pair of shares, 66 bytes; none where it takes no part.

    """

    context: Context
    stage: Stage
    share_key: bytes = field(default=b"", repr=False)
    mask_key: bytes = field(default=b"", repr=False)
    seed: bytes = field(default=b"", repr=False)
    place: Place | None = None
    held: tuple[bytes, ...] = field(default=(), repr=False)

    def need(self, stage: Stage, kind: str) -> None:
        """Refuse a message that is early, late, or a second one.

        Raises:
            HashfedError: naming the message's kind.

        """
        if self.stage != stage:
            raise HashfedError(
                f"{kind} of round {self.context.round}: arrived when the client had {self.stage}, "
                f"must arrive when it has {stage}"
            )

    @property
    def known_place(self) -> Place:
        """The place, of a client that has shared."""
        if self.place is None:
            raise ValueError("the client has not seen the roster")
        return self.place

    def masked(self, held: tuple[bytes, ...]) -> "ClientSecrets":
        """After its vector: of its own secrets none is needed any more, only what it holds of others."""
        return replace(self, stage="masked", share_key=b"", mask_key=b"", seed=b"", held=held)

    def spent(self) -> "ClientSecrets":
        """After the answer: nothing secret is left."""
        return replace(self, stage="answered", share_key=b"", mask_key=b"", seed=b"", held=())

    def to_bytes(self) -> bytes:
        """All of it, as text."""
        return json.dumps(asdict(self), default=bytes.hex, separators=(",", ":")).encode()

    @classmethod
    def from_bytes(cls, data: bytes) -> "ClientSecrets":
        """What ``to_bytes`` gave.

        Raises:
            HashfedError: where it is something else.

        """
        try:
            told = json.loads(data)
            context, place = told["context"], told["place"]
            found = cls(
                Context(
                    bytes.fromhex(context["run"]),
                    int(context["round"]),
                    str(context["label"]),
                    bytes.fromhex(context["rows"]),
                ),
                told["stage"],
                bytes.fromhex(told["share_key"]),
                bytes.fromhex(told["mask_key"]),
                bytes.fromhex(told["seed"]),
                None if place is None else _place(place),
                tuple(bytes.fromhex(held) for held in told["held"]),
            )
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise HashfedError(
                f"secrets of {len(data)} bytes: not those of a client ({type(error).__name__})"
            ) from None
        if found.stage not in get_args(Stage):
            raise HashfedError(f"secrets of {len(data)} bytes: not those of a client (its stage)")
        return found


def _place(told: dict[str, Any]) -> Place:
    return Place(
        Parameters(**told["parameters"]),
        Session(bytes.fromhex(told["session"]["digest"])),
        told["position"],
        tuple(told["neighbours"]),
        tuple(bytes.fromhex(key) for key in told["keys"]),
    )
