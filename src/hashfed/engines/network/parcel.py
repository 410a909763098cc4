"""What one message between the server and a node carries."""

from dataclasses import dataclass, field

from hashfed.federated.messages import Message


@dataclass
class Parcel:
    """Of a node, which may host several clients.

    Attributes:
        round: of all of it.
        messages: by client; in one parcel a client has at most one message of each kind.
        shared: by kind, messages for all clients that the request names.
        problems: by client, what went wrong instead.
        reports: by client, numbers about what it did.

    """

    round: int
    messages: dict[str, dict[str, Message]] = field(default_factory=dict)
    shared: dict[str, Message] = field(default_factory=dict)
    problems: dict[str, str] = field(default_factory=dict)
    reports: dict[str, dict[str, float]] = field(default_factory=dict)

    def add(self, client: str, message: Message) -> None:
        """Put in one message."""
        self.messages.setdefault(client, {})[message.kind] = message
