"""What is checked of a message from another machine before it touches the model.

The messages' classes say what they hold; these functions refuse what does not fit the round, the model and
what was sent before. The sender may be broken or hostile: nothing is believed that can be checked.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from hashfed.errors import HashfedError
from hashfed.federated.messages import Broadcast, ClientKeys, Declare, SelectedRows, Update, Welcome
from hashfed.retrieval.checks import check_ids


@dataclass(frozen=True)
class ModelShape:
    """What both sides know of the model.

    Attributes:
        size: n.
        dimension: d.
        body: shapes of the other parameters by name.

    """

    size: int
    dimension: int
    body: Mapping[str, Sequence[int]]


@dataclass(frozen=True)
class Limits:
    """The most that one client can need in a round.

    Attributes:
        own: rows that it may declare.
        predictions: positions that it may train on.
        keys: bytes of its keys.

    """

    own: int
    predictions: int
    keys: int = 1 << 26


@dataclass(frozen=True)
class RowsSent:
    """What the server knows of the rows that a client may have trained on.

    Attributes:
        ids: (m,) ascending, of all rows that it was sent, its own among them; None for all n.
        least: rows that it must have trained on.
        most: rows that it may have trained on.
        listed: whether its update names its rows; where not, it is of all n.

    """

    ids: np.ndarray | None
    least: int
    most: int
    listed: bool


def check_declare(message: Declare, round: int, shape: ModelShape, limits: Limits) -> None:
    """Refuse a declaration of another round, of ids that are no int32 list of rows, or of too many.

    Raises:
        HashfedError: naming the field, the value and what is allowed.

    """
    _same_round(message.round, round)
    _array("own", torch.from_numpy(message.own), torch.int32, None)
    message.check(shape.size)
    if len(message.own) > limits.own:
        raise HashfedError(f"own: {len(message.own)} rows: at most {limits.own} can be needed")


def check_welcome(message: Welcome, round: int, shape: ModelShape, own: int) -> None:
    """Refuse a welcome that does not fit: the model's shapes, ``own`` rows, all finite.

    Raises:
        HashfedError: as ``check_declare``.

    """
    _same_round(message.round, round)
    _body(message.body, shape)
    _array("own_rows", message.own_rows, torch.float32, (own, shape.dimension))


def check_broadcast(message: Broadcast, round: int, shape: ModelShape) -> None:
    """Refuse a broadcast that does not fit: the model's shapes, all finite.

    Raises:
        HashfedError: as ``check_declare``.

    """
    _same_round(message.round, round)
    _body(message.body, shape)
    _array("rows", message.rows, torch.float32, (shape.size, shape.dimension))


def check_keys(message: ClientKeys, round: int, limits: Limits) -> None:
    """Refuse keys of another round, or too many; what they mean the index checks (``Index.lookup``).

    Raises:
        HashfedError: as ``check_declare``.

    """
    _same_round(message.round, round)
    total = sum(value.nbytes for value in message.keys.values())
    if total > limits.keys:
        raise HashfedError(f"keys of {total} bytes: at most {limits.keys} are read")


def check_selected(message: SelectedRows, round: int, shape: ModelShape) -> None:
    """Refuse rows whose ids do not ascend or are out of range, or whose shapes do not fit.

    Raises:
        HashfedError: as ``check_declare``.

    """
    _same_round(message.round, round)
    count = shape.size
    if message.ids is not None:
        _array("ids", torch.from_numpy(message.ids), torch.int32, None)
        check_ids(message.ids, shape.size)
        count = len(message.ids)
    _array("rows", message.rows, torch.float32, (count, shape.dimension))
    if message.log_weight is not None:
        _array("log_weight", message.log_weight, torch.float32, (count,))


def check_update(message: Update, round: int, shape: ModelShape, limits: Limits, sent: RowsSent) -> None:
    """Refuse an update that is not one of the rows that the client was sent.

    Args:
        message: the update, its tensors in float32.
        round: that the server is in.
        shape: of the model.
        limits: of a client.
        sent: the rows that the client has.

    Raises:
        HashfedError: as ``check_declare``.

    """
    _same_round(message.round, round)
    if not 1 <= message.weight <= limits.predictions:
        raise HashfedError(f"weight = {message.weight}: must be from 1 to {limits.predictions}")
    if not math.isfinite(message.loss):
        raise HashfedError(f"loss = {message.loss}: must be finite")
    count = shape.size
    if sent.listed != (message.ids is not None):
        raise HashfedError("ids: must be there exactly where a part of the rows was sent")
    if message.ids is not None:
        _array("ids", torch.from_numpy(message.ids), torch.int32, None)
        check_ids(message.ids, shape.size)
        if sent.ids is not None:
            strange = message.ids[~np.isin(message.ids, sent.ids, assume_unique=True)]
            if len(strange):
                raise HashfedError(f"ids: row {strange[0]} was not sent to this client")
        if not sent.least <= len(message.ids) <= sent.most:
            raise HashfedError(
                f"ids: {len(message.ids)} rows: from {sent.least} to {sent.most} must be trained on"
            )
        count = len(message.ids)
    _array("rows", message.rows, torch.float32, (count, shape.dimension))
    _body(message.body, shape)


def _same_round(found: int, round: int) -> None:
    if found != round:
        raise HashfedError(f"round = {found}: a message of another round, this is {round}")


def _body(body: Mapping[str, torch.Tensor], shape: ModelShape) -> None:
    if set(body) != set(shape.body):
        odd = sorted(set(body) ^ set(shape.body))[0]
        raise HashfedError(f"body.{odd}: is in only one of the message and the model")
    for name, value in body.items():
        _array(f"body.{name}", value, torch.float32, shape.body[name])


def _array(name: str, value: torch.Tensor, dtype: torch.dtype, shape: Sequence[int] | None) -> None:
    """Refuse another type, another shape (None: any list), or a value that is not finite."""
    if value.dtype != dtype:
        found, wanted = (str(item).removeprefix("torch.") for item in (value.dtype, dtype))
        raise HashfedError(f"{name} of type {found}: must be {wanted}")
    if shape is None and value.ndim != 1:
        raise HashfedError(f"{name} of shape {tuple(value.shape)}: must be a list")
    if shape is not None and tuple(value.shape) != tuple(shape):
        raise HashfedError(f"{name} of shape {tuple(value.shape)}: must be {tuple(shape)}")
    # A sum is not finite if any value is not; large values may add up to more than a float32.
    if dtype.is_floating_point and not bool(torch.isfinite(value.sum(dtype=torch.float64))):
        raise HashfedError(f"{name}: has a value that is not finite")
