"""All that a network is to the server: a new one implements ``Transport``, and an app for its nodes."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from hashfed.engines.network.parcel import Parcel

More = Mapping[str, int | str | list[str] | list[int]]
"""What a request says besides."""


@dataclass(frozen=True)
class Ahead:
    """A step that needs nothing of its round, asked for before it begins.

    Attributes:
        step: its name.
        round: that it is for.
        clients: that are asked; there may be none.

    """

    step: str
    round: int
    clients: list[str]


NOTHING = Ahead("", 0, [])


@dataclass(frozen=True)
class Request:
    """What a message to a node asks for.

    Attributes:
        kind: the exchange (``exchanges``).
        round: that it is of.
        ahead: what of another round is also asked for.
        more: what it says besides.
        keep: seconds for which it may wait to be taken.

    """

    kind: str
    round: int
    ahead: Ahead
    more: More
    keep: float


class Content(Protocol):
    """What a node sent, not read yet."""

    def parcel(self) -> Parcel:
        """Its answer to any exchange but ``JOIN``.

        Raises:
            HashfedError: where it is none.

        """
        ...

    def hosted(self) -> Mapping[str, object]:
        """Its answer to ``JOIN``, unchecked: names of clients that ``train`` or are ``held_out``."""
        ...


@dataclass(frozen=True)
class Answer:
    """What came of a message.

    Attributes:
        content: what the node sent; None where something went wrong.
        problem: what went wrong, one line.
        gone: whether the node has to join again.
        worked: seconds that the node says it worked on it, unchecked.

    """

    content: Content | None
    problem: str = ""
    gone: bool = False
    worked: object = 0.0


class Transport(Protocol):
    """Carries messages to nodes, and their answers.

    Attributes:
        down: bytes sent so far.
        up: bytes received so far.

    """

    down: int
    up: int

    def nodes(self) -> set[int]:
        """Ids of the nodes that are online.

        Raises:
            Interrupted: on a stop.

        """
        ...

    def invitation(self) -> Any:
        """The content of a request to join: the run's configuration and names of rows."""
        ...

    def pack(self, parcel: Parcel) -> Any:
        """A parcel as the content of one message, or of several to different nodes."""
        ...

    def send(self, node: int, request: Request, content: Any) -> str | None:
        """Send one message; returns its id, None where it could not be sent.

        Raises:
            Interrupted: on a stop.

        """
        ...

    def look(self, message: str) -> Answer | None:
        """The answer to a message; None where it is not there yet.

        Whatever a node's fault makes impossible to read is an answer with a problem.

        Raises:
            HashfedError: where the network itself is gone.

        """
        ...

    def forget(self, message: str) -> None:
        """Nobody asks about this message any more."""
        ...
