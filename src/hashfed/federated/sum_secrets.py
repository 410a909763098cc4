"""What a client keeps to itself between the steps of a sum under masks, and its part of each step."""

from dataclasses import dataclass, field

import numpy as np

from hashfed.errors import HashfedError
from hashfed.federated.privacy import client
from hashfed.federated.privacy.client_secrets import ClientSecrets
from hashfed.federated.privacy.context import Context
from hashfed.federated.privacy.messages import (
    Inbox,
    KeyShares,
    MaskedVector,
    PublicKeys,
    RosterPart,
    Survivors,
    Unmasking,
)
from hashfed.federated.privacy.parameters import FEWEST_CLIENTS, MOST_CLIENTS, Demands

COMPLETE = 128
"""Up to so many clients everybody neighbours everybody: then a server that tells clients different stories of
who dropped out gets no client's vector, and masks with 127 neighbours take some 0.2 s for two million
numbers."""


@dataclass
class SumSecrets:
    """Of one client in one round.

    Attributes:
        held: secrets so far; None before the first step.
        demands: of the client, whatever a server proposes.

    """

    held: ClientSecrets | None = None
    demands: Demands = field(default_factory=lambda: demands_of("least clients", FEWEST_CLIENTS))

    def advertise(self, context: Context) -> PublicKeys:
        """Fresh keys for this sum."""
        self.held, message = client.advertise(context)
        return message

    def share(self, part: RosterPart, clients: int, value_bits: int, length: int) -> KeyShares:
        """Shares of its secrets, for a sum of at most so many clients and of such vectors.

        Raises:
            HashfedError: where the roster is of another sum, or as ``privacy.client.share``; the secrets are
                as before.

        """
        wanted = {"value_bits": value_bits, "length": length}
        for name, value in wanted.items():
            if getattr(part, name) != value:
                # Of more or fewer bits, that the vector does not fit would tell of it.
                raise HashfedError(f"roster-part: {name} = {getattr(part, name)}: must be {value}")
        if part.clients > clients:
            raise HashfedError(f"roster-part: {part.clients} clients: must be at most cohort = {clients}")
        self.held, message = client.share(self._known, part, self.demands)
        return message

    def mask(self, inbox: Inbox, vector: np.ndarray, told: bytes) -> MaskedVector:
        """Its vector (length,) int32 under masks, made from what ``told`` (32 bytes) stands for.

        Raises:
            HashfedError: as ``privacy.client.mask``; the secrets are as before.

        """
        self.held, message = client.mask(self._known, inbox, vector, told)
        return message

    def unmask(self, survivors: Survivors) -> Unmasking:
        """Shares of its neighbours' secrets.

        Raises:
            HashfedError: as ``privacy.client.unmask``; the secrets are as before.

        """
        self.held, message = client.unmask(self._known, survivors)
        return message

    def to_bytes(self) -> bytes:
        """The secrets, for a place that nobody else reads; nothing where there are none."""
        return b"" if self.held is None else self.held.to_bytes()

    @classmethod
    def read(cls, data: bytes, demands: Demands | None = None) -> "SumSecrets":
        """What ``to_bytes`` gave, of a client with these demands."""
        held = ClientSecrets.from_bytes(data) if data else None
        return cls(held) if demands is None else cls(held, demands)

    @property
    def _known(self) -> ClientSecrets:
        if self.held is None:
            raise HashfedError("no secrets of this sum are kept here: was this node started anew?")
        return self.held


def demands_of(setting: str, least: object) -> Demands:
    """What a client asks of every sum whose user wants at least so many clients in it.

    Raises:
        HashfedError: where ``least`` is no such number, naming the setting.

    """
    if isinstance(least, bool) or not isinstance(least, int) or not FEWEST_CLIENTS <= least <= MOST_CLIENTS:
        raise HashfedError(
            f"{setting} = {least!r}: must be an integer from {FEWEST_CLIENTS} to {MOST_CLIENTS}"
        )
    return Demands(least, least, complete=COMPLETE)
