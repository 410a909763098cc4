"""The five messages of a round.

client → server   Declare         which rows its data needs
server → client   Welcome         body, those rows, encoder
client → server   ClientKeys      keys of its queries
server → client   SelectedRows    the other rows of its selection
client → server   Update          changes of body and rows
"""

import struct
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import ClassVar

import numpy as np
import torch

from hashfed.errors import HashfedError
from hashfed.retrieval.checks import check_ids


@dataclass(frozen=True)
class Declare:
    """A client names its own rows.

    Attributes:
        round: of the exchange.
        own: (o,) int32, ascending, distinct.
        budget: rows that the device may hold, its own among them; ≥ 1.

    """

    round: int
    own: np.ndarray
    budget: int
    kind: ClassVar[str] = "declare"

    def check(self, size: int) -> None:
        """Refuse a declaration that does not fit a model of ``size`` rows.

        Raises:
            HashfedError: where ids are out of range, repeated or out of order, or the budget is below 1.

        """
        try:
            check_ids(self.own, size)
        except HashfedError as error:
            raise HashfedError(f"round {self.round}: declared rows: {error}") from None
        if self.budget < 1:
            raise HashfedError(f"round {self.round}: declared budget = {self.budget}: must be at least 1")

    def tensors(self) -> dict[str, torch.Tensor]:
        """The arrays to send."""
        return {"own": torch.from_numpy(self.own)}

    def numbers(self) -> dict[str, str]:
        """The other fields to send."""
        return {"round": str(self.round), "budget": str(self.budget)}

    @classmethod
    def read(cls, tensors: Mapping[str, torch.Tensor], numbers: Mapping[str, str]) -> "Declare":
        """The message from what was received."""
        return cls(int(numbers["round"]), tensors["own"].numpy(), int(numbers["budget"]))


@dataclass(frozen=True)
class Welcome:
    """What a client needs to compute its queries.

    Attributes:
        round: of the exchange.
        body: all parameters below the output layer.
        own_rows: (o, d), in the order that the client declared.
        encoder: kind of the index's encoder.
        encoder_numbers: its parameters that are integers.
        encoder_arrays: its parameters that are arrays.

    """

    round: int
    body: dict[str, torch.Tensor]
    own_rows: torch.Tensor
    encoder: str
    encoder_numbers: dict[str, int]
    encoder_arrays: dict[str, np.ndarray] = field(default_factory=dict)
    kind: ClassVar[str] = "welcome"

    def tensors(self) -> dict[str, torch.Tensor]:
        """The arrays to send."""
        arrays = {name: torch.from_numpy(value) for name, value in self.encoder_arrays.items()}
        return {"own_rows": self.own_rows} | _prefixed("body", self.body) | _prefixed("encoder", arrays)

    def numbers(self) -> dict[str, str]:
        """The other fields to send."""
        encoder = {f"encoder.{name}": str(value) for name, value in self.encoder_numbers.items()}
        return {"round": str(self.round), "encoder": self.encoder} | encoder

    @classmethod
    def read(cls, tensors: Mapping[str, torch.Tensor], numbers: Mapping[str, str]) -> "Welcome":
        """The message from what was received."""
        integers = {
            name.removeprefix("encoder."): int(value)
            for name, value in numbers.items()
            if name.startswith("encoder.")
        }
        arrays = {name: value.numpy() for name, value in _unprefixed("encoder", tensors).items()}
        body = _unprefixed("body", tensors)
        return cls(int(numbers["round"]), body, tensors["own_rows"], numbers["encoder"], integers, arrays)


@dataclass(frozen=True)
class ClientKeys:
    """A client's keys (``retrieval.protocol.Keys``)."""

    round: int
    keys: dict[str, np.ndarray]
    kind: ClassVar[str] = "keys"

    def tensors(self) -> dict[str, torch.Tensor]:
        """The arrays to send."""
        return {name: torch.from_numpy(value) for name, value in self.keys.items()}

    def numbers(self) -> dict[str, str]:
        """The other fields to send."""
        return {"round": str(self.round)}

    @classmethod
    def read(cls, tensors: Mapping[str, torch.Tensor], numbers: Mapping[str, str]) -> "ClientKeys":
        """The message from what was received."""
        keys = {name: value.numpy() for name, value in tensors.items()}
        return cls(int(numbers["round"]), keys)


@dataclass(frozen=True)
class SelectedRows:
    """The rows of the selection that the client does not hold yet.

    Attributes:
        round: of the exchange.
        budget: rows the client may hold; it drops the rest (``client.drop_rows``).
        ids: (k,) int32, ascending, none of them declared; None where all n rows are sent.
        rows: (k, d).
        log_weight: (k,) float32, or None where no logit is corrected.

    """

    round: int
    budget: int
    ids: np.ndarray | None
    rows: torch.Tensor
    log_weight: torch.Tensor | None
    kind: ClassVar[str] = "rows"

    def tensors(self) -> dict[str, torch.Tensor]:
        """The arrays to send."""
        tensors = {"rows": self.rows}
        if self.ids is not None:
            tensors["ids"] = torch.from_numpy(self.ids)
        if self.log_weight is not None:
            tensors["log_weight"] = self.log_weight
        return tensors

    def numbers(self) -> dict[str, str]:
        """The other fields to send."""
        return {"round": str(self.round), "budget": str(self.budget)}

    @classmethod
    def read(cls, tensors: Mapping[str, torch.Tensor], numbers: Mapping[str, str]) -> "SelectedRows":
        """The message from what was received."""
        ids = tensors["ids"].numpy() if "ids" in tensors else None
        return cls(
            int(numbers["round"]),
            int(numbers["budget"]),
            ids,
            tensors["rows"],
            tensors.get("log_weight"),
        )


@dataclass(frozen=True)
class Update:
    """What a client's training changed.

    Attributes:
        round: of the exchange.
        weight: number of predicted positions trained on per epoch.
        loss: mean training loss over its steps, weighted by predictions, nats.
        body: new minus old, by name.
        ids: (m,) int32 ascending: the rows trained on; None for all n.
        rows: (m, d), new minus old.
        scales: of int8 arrays, by their names in ``tensors`` (``compression.compress_update``); else none.

    """

    round: int
    weight: int
    loss: float
    body: dict[str, torch.Tensor]
    ids: np.ndarray | None
    rows: torch.Tensor
    scales: dict[str, torch.Tensor] = field(default_factory=dict)
    kind: ClassVar[str] = "update"

    def tensors(self) -> dict[str, torch.Tensor]:
        """The arrays to send."""
        ids = {} if self.ids is None else {"ids": torch.from_numpy(self.ids)}
        scales = _prefixed("scale", self.scales)
        return {"rows": self.rows} | ids | _prefixed("body", self.body) | scales

    def numbers(self) -> dict[str, str]:
        """The other fields to send."""
        # The bits of the loss, for decimal digits would be more or fewer from client to client.
        loss = struct.pack(">d", self.loss).hex()
        return {"round": str(self.round), "weight": str(self.weight), "loss": loss}

    @classmethod
    def read(cls, tensors: Mapping[str, torch.Tensor], numbers: Mapping[str, str]) -> "Update":
        """The message from what was received."""
        return cls(
            int(numbers["round"]),
            int(numbers["weight"]),
            struct.unpack(">d", bytes.fromhex(numbers["loss"]))[0],
            _unprefixed("body", tensors),
            tensors["ids"].numpy() if "ids" in tensors else None,
            tensors["rows"],
            _unprefixed("scale", tensors),
        )

    def cpu(self) -> "Update":
        """The same with all arrays in the memory of the CPU."""
        body = {name: value.cpu() for name, value in self.body.items()}
        scales = {name: value.cpu() for name, value in self.scales.items()}
        return replace(self, body=body, rows=self.rows.cpu(), scales=scales)

    def check_finite(self, client: str) -> None:
        """Refuse an update that would ruin the model.

        Raises:
            HashfedError: where a value is NaN or infinite.

        """
        for name, value in self.tensors().items():
            # A sum is not finite if any value is not; no boolean copy of the tensor is made.
            if value.is_floating_point() and not bool(torch.isfinite(value.sum(dtype=torch.float32))):
                raise HashfedError(
                    f"round {self.round}: client {client} returned a change of {name} that is not finite; "
                    "the training diverged: lower client.learning_rate or server.learning_rate, "
                    "or set client.clip"
                )


Message = Declare | Welcome | ClientKeys | SelectedRows | Update

KINDS: dict[str, type[Declare] | type[Welcome] | type[ClientKeys] | type[SelectedRows] | type[Update]] = {
    cls.kind: cls for cls in (Declare, Welcome, ClientKeys, SelectedRows, Update)
}
"""Their classes by kind."""


def _prefixed(prefix: str, tensors: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {f"{prefix}.{name}": value for name, value in tensors.items()}


def _unprefixed(prefix: str, tensors: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    start = f"{prefix}."
    return {name.removeprefix(start): value for name, value in tensors.items() if name.startswith(start)}
