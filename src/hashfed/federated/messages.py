"""The messages of a round.

client → server   Declare         which rows its data needs
server → client   Welcome         body, those rows, encoder
client → server   ClientKeys      keys of its queries
server → client   SelectedRows    the other rows of its selection, and planes of the rest
client → server   Update          changes of body and rows, and of the rest by plane

Where the client selects by itself (``selection.delivery``), one message that is the same for all clients
stands for the first four (Charles et al. 2022, Federated Select):

server → all      Broadcast       body, all rows, and what the index is built of
server → all      Manifest        body, encoder, and where the slices of rows and index are
"""

import math
import struct
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import ClassVar

import numpy as np
import torch

from hashfed.errors import ClientDivergedError, HashfedError
from hashfed.retrieval.checks import check_ids
from hashfed.retrieval.planes import Planes

LARGEST_CHANGE = 1e4
"""Of a parameter in a round. Training changes none so far; sums and squares of smaller ones fit in a float32,
so that no update makes the model or a moment of the server optimizer infinite."""
LARGEST_LOSS = 1e6
"""Nats per prediction: no softmax over rows that float32 can hold apart loses as much."""
DIGEST = 32
"""Bytes of a slice's address."""


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
        return {"own_rows": self.own_rows} | prefixed("body", self.body) | prefixed("encoder", arrays)

    def numbers(self) -> dict[str, str]:
        """The other fields to send."""
        return {"round": str(self.round), "encoder": self.encoder} | _encoder(self.encoder_numbers)

    @classmethod
    def read(cls, tensors: Mapping[str, torch.Tensor], numbers: Mapping[str, str]) -> "Welcome":
        """The message from what was received."""
        integers, arrays = _read_encoder(tensors, numbers)
        body = _unprefixed("body", tensors)
        return cls(int(numbers["round"]), body, tensors["own_rows"], numbers["encoder"], integers, arrays)


@dataclass(frozen=True)
class ClientKeys:
    """A client's keys (``retrieval.protocol.Keys``).

    Attributes:
        round: of the exchange.
        keys: for the index.
        sketch: for the planes alone (``selection.points: sketch``), keys of a ``QueryCentroidsEncoder``; else
            none.

    """

    round: int
    keys: dict[str, np.ndarray]
    sketch: dict[str, np.ndarray] = field(default_factory=dict)
    kind: ClassVar[str] = "keys"

    def tensors(self) -> dict[str, torch.Tensor]:
        """The arrays to send."""
        sketch = {name: torch.from_numpy(value) for name, value in self.sketch.items()}
        return {name: torch.from_numpy(value) for name, value in self.keys.items()} | prefixed(
            "sketch", sketch
        )

    def numbers(self) -> dict[str, str]:
        """The other fields to send."""
        return {"round": str(self.round)}

    @classmethod
    def read(cls, tensors: Mapping[str, torch.Tensor], numbers: Mapping[str, str]) -> "ClientKeys":
        """The message from what was received."""
        sketch = {name: value.numpy() for name, value in _unprefixed("sketch", tensors).items()}
        keys = {name: value.numpy() for name, value in tensors.items() if not name.startswith("sketch.")}
        return cls(int(numbers["round"]), keys, sketch)


@dataclass(frozen=True)
class SelectedRows:
    """The rows of the selection that the client does not hold yet.

    Attributes:
        round: of the exchange.
        budget: rows the client may hold; it drops the rest (``client.drop_rows``).
        ids: (k,) int32, ascending, none of them declared; None where all n rows are sent.
        rows: (k, d).
        log_weight: (k,) float32, or None where no logit is corrected.
        planes: of the tail (``selection.correction: control-variate``), or None.

    """

    round: int
    budget: int
    ids: np.ndarray | None
    rows: torch.Tensor
    log_weight: torch.Tensor | None
    planes: Planes | None = None
    kind: ClassVar[str] = "rows"

    def tensors(self) -> dict[str, torch.Tensor]:
        """The arrays to send."""
        tensors = {"rows": self.rows}
        if self.ids is not None:
            tensors["ids"] = torch.from_numpy(self.ids)
        if self.log_weight is not None:
            tensors["log_weight"] = self.log_weight
        if self.planes is not None:
            tensors |= prefixed("planes", vars(self.planes))
        return tensors

    def numbers(self) -> dict[str, str]:
        """The other fields to send."""
        return {"round": str(self.round), "budget": str(self.budget)}

    @classmethod
    def read(cls, tensors: Mapping[str, torch.Tensor], numbers: Mapping[str, str]) -> "SelectedRows":
        """The message from what was received."""
        ids = tensors["ids"].numpy() if "ids" in tensors else None
        planes = _unprefixed("planes", tensors)
        return cls(
            int(numbers["round"]),
            int(numbers["budget"]),
            ids,
            tensors["rows"],
            tensors.get("log_weight"),
            Planes(**planes) if planes else None,
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
        tail: (K, d), G: what its tail's rows are to be moved by, at each plane (``federated.tail``); or None.

    """

    round: int
    weight: int
    loss: float
    body: dict[str, torch.Tensor]
    ids: np.ndarray | None
    rows: torch.Tensor
    scales: dict[str, torch.Tensor] = field(default_factory=dict)
    tail: torch.Tensor | None = None
    kind: ClassVar[str] = "update"

    def tensors(self) -> dict[str, torch.Tensor]:
        """The arrays to send."""
        ids = {} if self.ids is None else {"ids": torch.from_numpy(self.ids)}
        scales = prefixed("scale", self.scales)
        tail = {} if self.tail is None else {"tail": self.tail}
        return {"rows": self.rows} | ids | tail | prefixed("body", self.body) | scales

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
            tensors.get("tail"),
        )

    def cpu(self) -> "Update":
        """The same with all arrays in the memory of the CPU."""
        body = {name: value.cpu() for name, value in self.body.items()}
        scales = {name: value.cpu() for name, value in self.scales.items()}
        tail = None if self.tail is None else self.tail.cpu()
        return replace(self, body=body, rows=self.rows.cpu(), scales=scales, tail=tail)

    def check_loss(self) -> None:
        """Refuse the loss of a model that was of no use already.

        Raises:
            ClientDivergedError: where it is NaN, or its magnitude above ``LARGEST_LOSS``.

        """
        if not abs(self.loss) <= LARGEST_LOSS:
            raise ClientDivergedError(
                f"loss = {self.loss}: must be finite, within ±{LARGEST_LOSS:g}; "
                "the training diverged: lower client.learning_rate or server.learning_rate"
            )

    def check_values(self) -> None:
        """Refuse an update that would ruin the model, or the moments of its optimizer.

        Raises:
            ClientDivergedError: where a value is NaN, or its magnitude above ``LARGEST_CHANGE``.

        """
        for name, value in self.tensors().items():
            if not value.is_floating_point() or value.numel() == 0:
                continue
            least, most = (bound.item() for bound in torch.aminmax(value))  # NaN where any value is
            if not -LARGEST_CHANGE <= least <= most <= LARGEST_CHANGE:
                found = "is not finite"
                if math.isfinite(least) and math.isfinite(most):
                    found = f"is {most if most > -least else least:g}, not within ±{LARGEST_CHANGE:g}"
                raise ClientDivergedError(
                    f"returned a change of {name} that {found}; "
                    "the training diverged: lower client.learning_rate or server.learning_rate, "
                    "or set client.clip"
                )


@dataclass(frozen=True)
class Broadcast:
    """All that a client needs to build the index and to select by itself; the same for all clients.

    Attributes:
        round: of the exchange.
        body: all parameters below the output layer.
        rows: (n, d), all of them.
        prior: (n,) public counts, int32 or float64 (``pack_counts``); None where the method uses none.

    """

    round: int
    body: dict[str, torch.Tensor]
    rows: torch.Tensor
    prior: np.ndarray | None
    kind: ClassVar[str] = "broadcast"

    def tensors(self) -> dict[str, torch.Tensor]:
        """The arrays to send."""
        prior = {} if self.prior is None else {"prior": torch.from_numpy(self.prior)}
        return {"rows": self.rows} | prior | prefixed("body", self.body)

    def numbers(self) -> dict[str, str]:
        """The other fields to send."""
        return {"round": str(self.round)}

    @classmethod
    def read(cls, tensors: Mapping[str, torch.Tensor], numbers: Mapping[str, str]) -> "Broadcast":
        """The message from what was received."""
        body = _unprefixed("body", tensors)
        return cls(int(numbers["round"]), body, tensors["rows"], _array(tensors, "prior"))


@dataclass(frozen=True)
class Manifest:
    """What slices a round has, for clients that fetch them (``federated.slices``); the same for all clients.

    ``federated.manifests`` says how a client checks it. A slice's address is the SHA-256 of its bytes.

    Attributes:
        round: of the exchange.
        width: d.
        body: all parameters below the output layer.
        encoder: kind of the index's encoder.
        encoder_numbers: its parameters that are integers.
        row_addresses: (n, 32) uint8, of each row.
        buckets: (b,) int32 keys of the buckets that hold rows, ascending.
        bucket_rows: (b,) int32, how many rows each holds; at least 1.
        bucket_addresses: (b, 32) uint8.
        encoder_arrays: the encoder's parameters that are arrays.
        prior: (n,) public counts, int32 or float64 (``pack_counts``); None where the method uses none.
        ranges: (n,) uint8 norm range of each row; None where there is one range.
        limits: (r,) float64 largest norm of each range; None where there is one range.

    """

    round: int
    width: int
    body: dict[str, torch.Tensor]
    encoder: str
    encoder_numbers: dict[str, int]
    row_addresses: np.ndarray
    buckets: np.ndarray
    bucket_rows: np.ndarray
    bucket_addresses: np.ndarray
    encoder_arrays: dict[str, np.ndarray] = field(default_factory=dict)
    prior: np.ndarray | None = None
    ranges: np.ndarray | None = None
    limits: np.ndarray | None = None
    kind: ClassVar[str] = "manifest"

    def tensors(self) -> dict[str, torch.Tensor]:
        """The arrays to send; those of buckets only where there are any."""
        arrays: dict[str, np.ndarray | None] = {"row_addresses": self.row_addresses}
        if len(self.buckets):
            arrays |= {name: getattr(self, name) for name in ("buckets", "bucket_rows", "bucket_addresses")}
        arrays |= {name: getattr(self, name) for name in ("prior", "ranges", "limits")}
        sent = {name: torch.from_numpy(value) for name, value in arrays.items() if value is not None}
        encoder = {name: torch.from_numpy(value) for name, value in self.encoder_arrays.items()}
        return sent | prefixed("body", self.body) | prefixed("encoder", encoder)

    def numbers(self) -> dict[str, str]:
        """The other fields to send."""
        fixed = {"round": str(self.round), "width": str(self.width), "encoder": self.encoder}
        return fixed | _encoder(self.encoder_numbers)

    @classmethod
    def read(cls, tensors: Mapping[str, torch.Tensor], numbers: Mapping[str, str]) -> "Manifest":
        """The message from what was received."""
        integers, arrays = _read_encoder(tensors, numbers)
        none = np.empty(0, np.int32)
        buckets, held = _array(tensors, "buckets"), _array(tensors, "bucket_rows")
        addresses = _array(tensors, "bucket_addresses")
        return cls(
            int(numbers["round"]),
            int(numbers["width"]),
            _unprefixed("body", tensors),
            numbers["encoder"],
            integers,
            tensors["row_addresses"].numpy(),
            none if buckets is None else buckets,
            none if held is None else held,
            np.empty((0, DIGEST), np.uint8) if addresses is None else addresses,
            arrays,
            _array(tensors, "prior"),
            _array(tensors, "ranges"),
            _array(tensors, "limits"),
        )


Message = Declare | Welcome | ClientKeys | SelectedRows | Update | Broadcast | Manifest


def pack_counts(prior: np.ndarray) -> np.ndarray:
    """Counts (n,) as they travel: int32, half the bytes, where all are whole and fit, else float64.

    ``unpack_counts`` gives the same numbers back.
    """
    small = prior.astype(np.int32) if len(prior) == 0 or prior.max() < 2**31 else prior
    return small if np.array_equal(small, prior) and small.dtype == np.int32 else prior.astype(np.float64)


def unpack_counts(sent: np.ndarray) -> np.ndarray:
    """Counts (n,) as an index takes them: int64 or float64."""
    return sent.astype(np.int64) if sent.dtype == np.int32 else sent


def _array(tensors: Mapping[str, torch.Tensor], name: str) -> np.ndarray | None:
    return tensors[name].numpy() if name in tensors else None


def _encoder(numbers: Mapping[str, int]) -> dict[str, str]:
    return {f"encoder.{name}": str(value) for name, value in numbers.items()}


def _read_encoder(
    tensors: Mapping[str, torch.Tensor], numbers: Mapping[str, str]
) -> tuple[dict[str, int], dict[str, np.ndarray]]:
    """An encoder's parameters that are integers, and those that are arrays."""
    start = "encoder."
    integers = {
        name.removeprefix(start): int(value) for name, value in numbers.items() if name.startswith(start)
    }
    return integers, {name: value.numpy() for name, value in _unprefixed("encoder", tensors).items()}


KINDS: dict[str, type[Message]] = {
    cls.kind: cls for cls in (Declare, Welcome, ClientKeys, SelectedRows, Update, Broadcast, Manifest)
}
"""Their classes by kind."""


def prefixed(prefix: str, tensors: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The same as ``PREFIX.NAME``."""
    return {f"{prefix}.{name}": value for name, value in tensors.items()}


def _unprefixed(prefix: str, tensors: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    start = f"{prefix}."
    return {name.removeprefix(start): value for name, value in tensors.items() if name.startswith(start)}
