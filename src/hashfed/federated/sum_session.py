"""Two ways in which a cohort's vectors become one sum, on the server's side: as they are, and under masks."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

from hashfed.errors import HashfedError
from hashfed.federated.messages import Contribution, Message
from hashfed.federated.privacy.context import Context
from hashfed.federated.privacy.packing import unpack
from hashfed.federated.privacy.parameters import Parameters, Tolerance, choose
from hashfed.federated.privacy.server import SecureSum, signed
from hashfed.federated.sum_secrets import COMPLETE


class SumSession(Protocol):
    """What engines ask of one."""

    @property
    def asked(self) -> list[str]:
        """Names, ascending, of the clients that are asked in the next step."""
        ...

    @property
    def summed(self) -> list[str]:
        """Names, ascending, of those whose vectors are in the sum."""
        ...

    @property
    def roster(self) -> Sequence[str]:
        """Names, ascending, of the clients among whom the sum is."""
        ...

    @property
    def bits(self) -> int:
        """Of a number of the sum."""
        ...

    @property
    def total(self) -> np.ndarray:
        """(length,) int32, the sum, once the last step is closed."""
        ...


TOLERANCE = Tolerance(complete=COMPLETE)
"""A fifth of the clients may be corrupt, a fifth drop out."""


def session_parameters(clients: int, value_bits: int, length: int) -> Parameters:
    """Of a session of so many clients.

    Raises:
        HashfedError: where there are too few, or a number of their sum has more than 32 bits.

    """
    return choose(clients, value_bits, length, TOLERANCE)


@dataclass
class OpenSession:
    """The server sees each vector.

    Attributes:
        asked: names, ascending.
        length: of a vector.
        bits: of a number of the sum.
        least: clients that must add.

    """

    asked: list[str]
    length: int
    bits: int
    least: int
    summed: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._sum = np.zeros(self.length, np.uint32)

    @property
    def roster(self) -> Sequence[str]:
        """All that are asked."""
        return self.asked

    def take(self, name: str, message: Contribution) -> None:
        """Add a client's vector.

        Raises:
            HashfedError: where it is of another length, or not the first.

        """
        if name in self.summed:
            raise HashfedError(f"{message.kind}: it sent one already")
        self._sum += unpack(message.values, self.length, self.bits)
        self.summed.append(name)

    def close(self) -> None:
        """Nobody else is waited for.

        Raises:
            HashfedError: where too few have added.

        """
        if len(self.summed) < self.least:
            raise HashfedError(
                f"{len(self.summed)} clients have added to the sum, must be at least {self.least}"
            )
        self.summed.sort()

    @property
    def total(self) -> np.ndarray:
        """(length,) int32."""
        return signed(self._sum, self.bits)


class MaskedSession:
    """The server sees vectors under masks, and of the sum what the last step leaves (Bell et al. 2020)."""

    def __init__(self, context: Context, names: Collection[str], value_bits: int, length: int) -> None:
        """A session of these clients.

        Args:
            context: what the sum is for.
            names: of the cohort.
            value_bits: of a number that a client adds.
            length: of a vector.

        """
        self.sum = SecureSum(context, names, lambda clients: session_parameters(clients, value_bits, length))
        self.asked = sorted(names)
        self.summed: list[str] = []
        self._told: Mapping[str, Message] = {}
        self._total: np.ndarray | None = None

    @property
    def roster(self) -> Sequence[str]:
        """Those whose keys came."""
        return self.sum.roster.names

    @property
    def bits(self) -> int:
        """Of a number of the sum."""
        return self.sum.parameters.bits

    def told(self, name: str) -> Message:
        """What a client is told as a step begins: its part of the roster, its inbox, or who survived."""
        return self._told[name]

    def close_keys(self) -> None:
        """Nobody's keys are waited for any more."""
        self._tell(self.sum.rosters())

    def close_shares(self, told: bytes) -> None:
        """Nobody's shares are waited for any more, and what clients train on is known."""
        self._tell(self.sum.inboxes(told))

    def close_vectors(self) -> None:
        """Nobody's vector is waited for any more."""
        self._tell(self.sum.survivors())
        self.summed = self.asked

    def close_answers(self) -> None:
        """The sum."""
        self._total = self.sum.total()

    def _tell(self, told: Mapping[str, Message]) -> None:
        self._told, self.asked = told, sorted(told)

    @property
    def total(self) -> np.ndarray:
        """(length,) int32.

        Raises:
            ValueError: before the answers are closed.

        """
        if self._total is None:
            raise ValueError("the sum is still under masks")
        return self._total
