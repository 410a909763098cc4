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

and where the server learns sums alone, another one stands for the update too:

server → all      Common          body, all rows, common rows and planes, and how the sum is laid out
client → server   Contribution    what the client adds to the cohort's sum, as integers

Rows without more are those of the output table, of which a client has a selection. Of every other table, an
*input table*, it has the rows that its data touch, and no others: they alone have a gradient.

A message is a dataclass that says of each field how it travels (``federated.codec``); ``federated.protocols``
says in which order they go.
"""

import hashlib
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Annotated, final

import numpy as np
import torch

from hashfed.errors import ClientDivergedError, HashfedError
from hashfed.federated.codec import KINDS as KINDS
from hashfed.federated.codec import Message as Message
from hashfed.federated.codec import OnlyIfAny, Prefix
from hashfed.models.protocol import OUTPUT, Parameters
from hashfed.retrieval.checks import check_ids
from hashfed.retrieval.planes import Planes

LARGEST_CHANGE = 1e4
"""Of a parameter in a round. Training changes none so far; sums and squares of smaller ones fit in a float32,
so that no update makes the model or a moment of the server optimizer infinite."""
LARGEST_LOSS = 1e6
"""Nats per prediction: no softmax over rows that float32 can hold apart loses as much."""
DIGEST = 32
"""Bytes of a slice's address."""


@final
@dataclass(frozen=True)
class Declare(Message, kind="declare"):
    """A client names its own rows.

    Attributes:
        round: of the exchange.
        own: (o,) int32, ascending, distinct.
        budget: rows that the device may hold, its own among them; ≥ 1.
        inputs: by input table, ids (t,) int32, ascending, distinct, of the rows that its data touch.

    """

    round: int
    own: np.ndarray
    budget: int
    inputs: dict[str, np.ndarray] = field(default_factory=dict)

    def check(self, sizes: Mapping[str, int]) -> None:
        """Refuse a declaration that does not fit a model with so many rows by table.

        Raises:
            HashfedError: as ``check_own``; where a table is missing or unknown, or ids of one do not fit.

        """
        self.check_own(sizes[OUTPUT])
        if odd := sorted(set(self.inputs) ^ set(sizes) - {OUTPUT}):
            raise HashfedError(
                f"round {self.round}: declared rows: table {odd[0]} is in only one of them and the model"
            )
        for name, ids in self.inputs.items():
            try:
                check_ids(ids, sizes[name])
            except HashfedError as error:
                raise HashfedError(f"round {self.round}: declared rows of table {name}: {error}") from None

    def check_own(self, size: int) -> None:
        """Refuse rows of the output table that is not of ``size`` rows, and a budget that is none.

        Raises:
            HashfedError: where ids are out of range, repeated or out of order, or the budget is below 1.

        """
        try:
            check_ids(self.own, size)
        except HashfedError as error:
            raise HashfedError(f"round {self.round}: declared rows: {error}") from None
        if self.budget < 1:
            raise HashfedError(f"round {self.round}: declared budget = {self.budget}: must be at least 1")


@final
@dataclass(frozen=True)
class Welcome(Message, kind="welcome"):
    """What a client needs to compute its queries.

    Attributes:
        round: of the exchange.
        body: all parameters below the output layer.
        own_rows: (o, d), in the order that the client declared.
        encoder: kind of the index's encoder.
        encoder_numbers: its parameters that are integers.
        encoder_arrays: its parameters that are arrays.
        input_rows: (t, w) by input table, in the order that the client declared.

    """

    round: int
    body: dict[str, torch.Tensor]
    own_rows: torch.Tensor
    encoder: str
    encoder_numbers: Annotated[dict[str, int], Prefix("encoder")]
    encoder_arrays: Annotated[dict[str, np.ndarray], Prefix("encoder")] = field(default_factory=dict)
    input_rows: dict[str, torch.Tensor] = field(default_factory=dict)


@final
@dataclass(frozen=True)
class ClientKeys(Message, kind="keys"):
    """A client's keys (``retrieval.protocol.Keys``).

    Attributes:
        round: of the exchange.
        keys: for the index.
        sketch: for the planes alone (``selection.points: sketch``), keys of a ``QueryCentroidsEncoder``; else
            none.

    """

    round: int
    keys: Annotated[dict[str, np.ndarray], Prefix("")]
    sketch: dict[str, np.ndarray] = field(default_factory=dict)


@final
@dataclass(frozen=True)
class SelectedRows(Message, kind="rows"):
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


@final
@dataclass(frozen=True)
class Update(Message, kind="update"):
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
        inputs: ids (t,) int32 ascending by input table: the rows that its data touched.
        input_rows: (t, w) by input table, new minus old.

    """

    round: int
    weight: int
    loss: float
    body: dict[str, torch.Tensor]
    ids: np.ndarray | None
    rows: torch.Tensor
    scales: Annotated[dict[str, torch.Tensor], Prefix("scale")] = field(default_factory=dict)
    tail: torch.Tensor | None = None
    inputs: dict[str, np.ndarray] = field(default_factory=dict)
    input_rows: dict[str, torch.Tensor] = field(default_factory=dict)

    def cpu(self) -> "Update":
        """The same with all arrays in the memory of the CPU."""
        tensors = {name: value.cpu() for name, value in self.tensors().items()}
        return Update.read(tensors, self.numbers())

    def check_loss(self) -> None:
        """See ``check_loss``."""
        check_loss(self.loss)

    def check_values(self) -> None:
        """Refuse an update that would ruin the model, or the moments of its optimizer.

        Raises:
            ClientDivergedError: where a value is NaN, or its magnitude above ``LARGEST_CHANGE``.

        """
        for name, value in self.tensors().items():
            if value.is_floating_point():
                check_change(name, value)


@final
@dataclass(frozen=True)
class Broadcast(Message, kind="broadcast"):
    """All that a client needs to build the index and to select by itself; the same for all clients.

    Attributes:
        round: of the exchange.
        body: all parameters below the output layer.
        rows: (n, d), all of them.
        prior: (n,) public counts, int32 or float64 (``pack_counts``); None where the method uses none.
        input_rows: input tables by name, all of their rows.

    """

    round: int
    body: dict[str, torch.Tensor]
    rows: torch.Tensor
    prior: np.ndarray | None
    input_rows: dict[str, torch.Tensor] = field(default_factory=dict)

    @classmethod
    def of(cls, round: int, parameters: Parameters, prior: np.ndarray | None) -> "Broadcast":
        """With this model."""
        return cls(round, parameters.body, parameters.rows, prior, parameters.inputs)

    @property
    def parameters(self) -> Parameters:
        """The model that was sent."""
        return Parameters({OUTPUT: self.rows, **self.input_rows}, self.body)


@final
@dataclass(frozen=True)
class Common(Message, kind="common"):
    """All that a client needs where the server is to learn sums alone; the same for all clients.

    A client takes the rows that its data need out of ``rows``, and holds them and U, no more.

    Attributes:
        round: of the exchange.
        body: all parameters below the output layer.
        rows: (n, d), all of them.
        ids: (l,) int32 ascending, U, the rows that every client holds; None for all.
        log_weight: (l,) float32 of these rows, as ``SelectedRows``; None where none is corrected.
        ranges: (b,) float64 > 0, by part of the sum (``sum_layout``): the largest number that a client adds.
        centroids: (K, d) float32 of the last cohort's queries, the points of the common planes; None without
            planes.
        log_sums: (K,) float32 of these planes.
        slopes: (K, d) likewise.
        gram: (K, K) Σ factor² π̂ π̂ᵀ, where updates are clipped by their norm; else None.
        input_rows: input tables by name, all of their rows.

    """

    round: int
    body: dict[str, torch.Tensor]
    rows: torch.Tensor
    ids: np.ndarray | None
    log_weight: np.ndarray | None
    ranges: np.ndarray
    centroids: torch.Tensor | None = None
    log_sums: torch.Tensor | None = None
    slopes: torch.Tensor | None = None
    gram: torch.Tensor | None = None
    input_rows: dict[str, torch.Tensor] = field(default_factory=dict)

    @cached_property
    def digest(self) -> bytes:
        """SHA-256 of all of it: whoever was sent anything else has another."""
        found = hashlib.sha256(f"{self.kind} {self.round}".encode())
        for name, value in sorted(self.tensors().items()):
            whole = value.detach().cpu().contiguous()
            found.update(f"\n{name} {value.dtype} {tuple(value.shape)}\n".encode())
            found.update(whole.reshape(-1).view(torch.uint8).numpy().data)
        return found.digest()


@final
@dataclass(frozen=True)
class Contribution(Message, kind="contribution"):
    """What a client adds to the sum of its cohort, of the same size for every client.

    Attributes:
        round: of the exchange.
        values: packed integers (``privacy.packing``), uint8; under masks where sums are secure.

    """

    round: int
    values: np.ndarray


@final
@dataclass(frozen=True)
class Manifest(Message, kind="manifest"):
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
        input_addresses: (n, 32) uint8 by input table, of each of its rows.

    """

    round: int
    width: int
    body: dict[str, torch.Tensor]
    encoder: str
    encoder_numbers: Annotated[dict[str, int], Prefix("encoder")]
    row_addresses: np.ndarray
    buckets: Annotated[np.ndarray, OnlyIfAny(np.int32, (0,))]
    bucket_rows: Annotated[np.ndarray, OnlyIfAny(np.int32, (0,))]
    bucket_addresses: Annotated[np.ndarray, OnlyIfAny(np.uint8, (0, DIGEST))]
    encoder_arrays: Annotated[dict[str, np.ndarray], Prefix("encoder")] = field(default_factory=dict)
    prior: np.ndarray | None = None
    ranges: np.ndarray | None = None
    limits: np.ndarray | None = None
    input_addresses: dict[str, np.ndarray] = field(default_factory=dict)


def pack_counts(prior: np.ndarray) -> np.ndarray:
    """Counts (n,) as they travel: int32, half the bytes, where all are whole and fit, else float64.

    ``unpack_counts`` gives the same numbers back.
    """
    small = prior.astype(np.int32) if len(prior) == 0 or prior.max() < 2**31 else prior
    return small if np.array_equal(small, prior) and small.dtype == np.int32 else prior.astype(np.float64)


def unpack_counts(sent: np.ndarray) -> np.ndarray:
    """Counts (n,) as an index takes them: int64 or float64."""
    return sent.astype(np.int64) if sent.dtype == np.int32 else sent


def check_loss(loss: float) -> None:
    """Refuse the loss of a model that was of no use already.

    Raises:
        ClientDivergedError: where it is NaN, or its magnitude above ``LARGEST_LOSS``.

    """
    if not abs(loss) <= LARGEST_LOSS:
        raise ClientDivergedError(
            f"loss = {loss}: must be finite, within ±{LARGEST_LOSS:g}; "
            "the training diverged: lower client.learning_rate or server.learning_rate"
        )


def check_change(name: str, value: torch.Tensor) -> None:
    """Refuse a change that would ruin the model, or the moments of its optimizer.

    Raises:
        ClientDivergedError: where a number is NaN, or its magnitude above ``LARGEST_CHANGE``.

    """
    if value.numel() > 0:
        least, most = (bound.item() for bound in torch.aminmax(value))  # NaN where any number is
        check_largest(name, most if most > -least else least)


def check_largest(name: str, value: float) -> None:
    """The same of a change whose largest number, NaN where any is, is known."""
    if not abs(value) <= LARGEST_CHANGE:
        found = f"is {value:g}, not within ±{LARGEST_CHANGE:g}" if math.isfinite(value) else "is not finite"
        raise ClientDivergedError(
            f"returned a change of {name} that {found}; "
            "the training diverged: lower client.learning_rate or server.learning_rate, "
            "or set client.clip"
        )
