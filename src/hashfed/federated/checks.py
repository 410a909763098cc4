"""What is checked of a message from another machine before it touches the model.

The messages' classes say what they hold; these functions refuse what does not fit the round, the model and
what was sent before. The sender may be broken or hostile: nothing is believed that can be checked.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch

from hashfed.errors import HashfedError
from hashfed.federated.codec import prefixed
from hashfed.federated.common_plan import CommonPlan
from hashfed.federated.compression import NUMBERS, scale_count
from hashfed.federated.messages import (
    Broadcast,
    ClientKeys,
    Common,
    Declare,
    SelectedRows,
    Update,
    Welcome,
)
from hashfed.federated.model_shape import ModelShape as ModelShape
from hashfed.federated.settings import UpdatePrecision
from hashfed.retrieval import Encoder, EncoderShape
from hashfed.retrieval.checks import check_ids
from hashfed.retrieval.planes import Tail

MOST_KEY_BYTES = 1 << 26
"""Of one client, whatever its keys are."""


@dataclass(frozen=True)
class Limits:
    """The most that one client can need in a round.

    Attributes:
        own: rows that it may declare.
        predictions: positions that it may train on.
        inputs: by input table, rows that its data may touch.

    """

    own: int
    predictions: int
    inputs: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class RowsSent:
    """What the server knows of the rows that a client may have trained on.

    Attributes:
        ids: (m,) ascending, of all rows that it was sent, its own among them; None for all n.
        least: rows that it must have trained on.
        most: rows that it may have trained on.
        listed: whether its update names its rows; where not, it is of all n.
        tail: that it was sent planes of, if it was.
        inputs: ids (t,) by input table, that it was sent; None where nobody knows.

    """

    ids: np.ndarray | None
    least: int
    most: int
    listed: bool
    tail: Tail | None = None
    inputs: Mapping[str, np.ndarray] | None = None


def check_declare(message: Declare, round: int, shape: ModelShape, limits: Limits) -> None:
    """Refuse a declaration of another round, of ids that are no int32 list of rows, or of too many.

    Raises:
        HashfedError: naming the field, the value and what is allowed.

    """
    _same_round(message.round, round)
    for name, ids in {"own": message.own, **prefixed("inputs", message.inputs)}.items():
        _array(name, torch.from_numpy(ids), torch.int32, None)
    message.check(shape.sizes)
    if len(message.own) > limits.own:
        raise HashfedError(f"own: {len(message.own)} rows: at most {limits.own} can be needed")
    _few(message.inputs, limits)


def check_welcome(
    message: Welcome, round: int, shape: ModelShape, declared: Declare, encoder: EncoderShape
) -> None:
    """Refuse a welcome that does not fit: the model's shapes, other rows, not finite, another encoder.

    Raises:
        HashfedError: as ``check_declare``.

    """
    _same_round(message.round, round)
    _body(message.body, shape)
    _array("own_rows", message.own_rows, torch.float32, (len(declared.own), shape.dimension))
    counts = {name: len(ids) for name, ids in declared.inputs.items()}
    _inputs(message.input_rows, {name: (counts[name], width) for name, (_, width) in shape.inputs.items()})
    encoder.check(message.encoder, message.encoder_numbers, message.encoder_arrays)


def check_broadcast(message: Broadcast, round: int, shape: ModelShape) -> None:
    """Refuse a broadcast that does not fit: the model's shapes, all finite.

    Raises:
        HashfedError: as ``check_declare``.

    """
    _same_round(message.round, round)
    _body(message.body, shape)
    _array("rows", message.rows, torch.float32, (shape.size, shape.dimension))
    _inputs(message.input_rows, shape.inputs)


def check_common(message: Common, round: int, shape: ModelShape, plan: CommonPlan) -> None:
    """Refuse what all clients are to get and does not fit: the model's shapes, the plan's rows and planes.

    Raises:
        HashfedError: as ``check_declare``.

    """
    _same_round(message.round, round)
    _body(message.body, shape)
    _array("rows", message.rows, torch.float32, (shape.size, shape.dimension))
    _inputs(message.input_rows, shape.inputs)
    if (message.ids is None) != (plan.rows == shape.size):
        raise HashfedError("ids: must be there exactly where all clients hold a part of the rows")
    if message.ids is not None:
        _array("ids", torch.from_numpy(message.ids), torch.int32, (plan.rows,))
        check_ids(message.ids, shape.size)
    if message.log_weight is not None:
        _array("log_weight", torch.from_numpy(message.log_weight), torch.float32, (plan.rows,))
        if message.log_weight.min(initial=0) < 0:
            raise HashfedError("log_weight: has a chance above one")
    _array("ranges", torch.from_numpy(message.ranges), torch.float64, (len(plan.layout.shapes),))
    if message.ranges.min(initial=1) <= 0:
        raise HashfedError(f"ranges: has {message.ranges.min():g}: must be above 0")
    count, width = plan.planes, shape.dimension
    wanted = {
        "centroids": (count, width),
        "log_sums": (count,),
        "slopes": (count, width),
        "gram": (count, count),
    }
    for name, sizes in wanted.items():
        value = getattr(message, name)
        if (value is not None) != (count > 0 and (name != "gram" or plan.clips)):
            raise HashfedError(f"{name}: must be there exactly where planes are sent and need it")
        if value is not None:
            _array(name, value, torch.float32, sizes)


def check_keys(
    message: ClientKeys, round: int, limits: Limits, encoder: Encoder, sketcher: Encoder | None = None
) -> None:
    """Refuse keys of another round, or more than the client's data can have; so for what it says for planes.

    What they mean the index checks (``Index.lookup``), which takes the longer the more they are.

    Raises:
        HashfedError: as ``check_declare``.

    """
    _same_round(message.round, round)
    total = sum(value.nbytes for value in (*message.keys.values(), *message.sketch.values()))
    if total > MOST_KEY_BYTES:
        raise HashfedError(f"keys of {total} bytes: at most {MOST_KEY_BYTES} are read")
    if message.sketch and sketcher is None:
        raise HashfedError("sketch: none was asked for")
    for kind, arrays, maker in (("keys", message.keys, encoder), ("sketch", message.sketch, sketcher)):
        most = 0 if maker is None else maker.most_keys(limits.predictions)
        for name, value in arrays.items():
            if value.ndim == 0 or len(value) > most:
                raise HashfedError(f"{kind}: {name} of shape {value.shape}: at most {most} can be needed")


def check_selected(
    message: SelectedRows, round: int, shape: ModelShape, budget: int, planes: int = 0
) -> None:
    """Refuse rows for another ``budget``, whose ids do not ascend or are out of range, or of other shapes.

    So for more than ``planes`` planes.

    Raises:
        HashfedError: as ``check_declare``.

    """
    _same_round(message.round, round)
    if message.budget != budget:
        raise HashfedError(f"budget = {message.budget}: must be {budget}, as was declared")
    count = shape.size
    if message.ids is not None:
        _array("ids", torch.from_numpy(message.ids), torch.int32, None)
        check_ids(message.ids, shape.size)
        count = len(message.ids)
    _array("rows", message.rows, torch.float32, (count, shape.dimension))
    if message.log_weight is not None:
        _array("log_weight", message.log_weight, torch.float32, (count,))
    if message.planes is not None:
        _array("planes.offsets", message.planes.offsets, torch.float32, None)
        many = len(message.planes.offsets)
        if not 1 <= many <= planes:
            raise HashfedError(f"planes: {many} of them: from 1 to {planes} can be needed")
        for name, value in vars(message.planes).items():
            vector = name in ("offsets", "errors")
            _array(f"planes.{name}", value, torch.float32, (many,) if vector else (many, shape.dimension))


def check_update(
    message: Update,
    round: int,
    shape: ModelShape,
    limits: Limits,
    sent: RowsSent,
    precision: UpdatePrecision,
) -> None:
    """Refuse an update that is not one of the rows that the client was sent; its values are not looked at.

    These are for ``Update.check_values``, once it is expanded.

    Args:
        message: the update as it was received.
        round: that the server is in.
        shape: of the model.
        limits: of a client.
        sent: the rows that the client has.
        precision: of the update's numbers.

    Raises:
        HashfedError: as ``check_declare``.

    """
    _same_round(message.round, round)
    if not 1 <= message.weight <= limits.predictions:
        raise HashfedError(f"weight = {message.weight}: must be from 1 to {limits.predictions}")
    message.check_loss()
    count = _check_ids(message.ids, shape.size, sent)
    dtype = NUMBERS[precision]
    _same_names("body", message.body, shape.body)
    wanted: dict[str, Sequence[int]] = {f"body.{name}": size for name, size in shape.body.items()}
    wanted["rows"] = count, shape.dimension
    found = {"rows": message.rows} | prefixed("body", message.body)
    _check_input_ids(message, shape, sent)
    _few(message.inputs, limits)
    for name, (_, width) in shape.inputs.items():
        wanted[f"input_rows.{name}"] = len(message.inputs[name]), width
    found |= prefixed("input_rows", message.input_rows)
    if (message.tail is not None) != (sent.tail is not None):
        raise HashfedError("tail: must be there exactly where planes were sent")
    if message.tail is not None and sent.tail is not None:
        wanted["tail"], found["tail"] = (len(sent.tail.points), shape.dimension), message.tail
    for name, value in found.items():
        _typed(name, value, dtype, wanted[name])
    scales = {name: (scale_count(size),) for name, size in wanted.items() if precision == "int8"}
    _same_names("scale", message.scales, scales)
    for name, value in message.scales.items():
        _typed(f"scale.{name}", value, torch.float32, scales[name])


def _check_ids(ids: np.ndarray | None, size: int, sent: RowsSent) -> int:
    """Refuse changes of other rows of the output table than were sent; returns how many they are."""
    if sent.listed != (ids is not None):
        raise HashfedError("ids: must be there exactly where a part of the rows was sent")
    if ids is None:
        return size
    _array("ids", torch.from_numpy(ids), torch.int32, None)
    check_ids(ids, size)
    if sent.ids is not None:
        strange = ids[~np.isin(ids, sent.ids, assume_unique=True)]
        if len(strange):
            raise HashfedError(f"ids: row {strange[0]} was not sent to this client")
    if not sent.least <= len(ids) <= sent.most:
        raise HashfedError(f"ids: {len(ids)} rows: from {sent.least} to {sent.most} must be trained on")
    return len(ids)


def _check_input_ids(message: Update, shape: ModelShape, sent: RowsSent) -> None:
    """Refuse changes of input tables in other rows than those that were sent."""
    _same_names("inputs", message.inputs, shape.inputs)
    _same_names("input_rows", message.input_rows, shape.inputs)
    for name, ids in message.inputs.items():
        _array(f"inputs.{name}", torch.from_numpy(ids), torch.int32, None)
        try:
            check_ids(ids, shape.sizes[name])
        except HashfedError as error:
            raise HashfedError(f"inputs.{name}: {error}") from None
        if sent.inputs is not None and not np.array_equal(ids, sent.inputs[name]):
            raise HashfedError(f"inputs.{name}: must be the {len(sent.inputs[name])} rows that were declared")


def _few(inputs: Mapping[str, np.ndarray], limits: Limits) -> None:
    for name, ids in inputs.items():
        if len(ids) > limits.inputs[name]:
            raise HashfedError(f"inputs.{name}: {len(ids)} rows: at most {limits.inputs[name]} can be needed")


def _inputs(rows: Mapping[str, torch.Tensor], shapes: Mapping[str, Sequence[int]]) -> None:
    _same_names("input_rows", rows, shapes)
    for name, value in rows.items():
        _array(f"input_rows.{name}", value, torch.float32, shapes[name])


def _same_names(kind: str, found: Iterable[str], wanted: Iterable[str]) -> None:
    odd = sorted(set(found) ^ set(wanted))
    if odd:
        raise HashfedError(f"{kind}.{odd[0]}: is in only one of the message and the model")


def _same_round(found: int, round: int) -> None:
    if found != round:
        raise HashfedError(f"round = {found}: a message of another round, this is {round}")


def _body(body: Mapping[str, torch.Tensor], shape: ModelShape) -> None:
    _same_names("body", body, shape.body)
    for name, value in body.items():
        _array(f"body.{name}", value, torch.float32, shape.body[name])


def _array(name: str, value: torch.Tensor, dtype: torch.dtype, shape: Sequence[int] | None) -> None:
    """Refuse another type, another shape (None: any list), or a value that is not finite."""
    _typed(name, value, dtype, shape)
    # A sum is not finite if any value is not; large values may add up to more than a float32.
    if dtype.is_floating_point and not bool(torch.isfinite(value.sum(dtype=torch.float64))):
        raise HashfedError(f"{name}: has a value that is not finite")


def _typed(name: str, value: torch.Tensor, dtype: torch.dtype, shape: Sequence[int] | None) -> None:
    """Refuse another type, or another shape (None: any list)."""
    if value.dtype != dtype:
        found, wanted = (str(item).removeprefix("torch.") for item in (value.dtype, dtype))
        raise HashfedError(f"{name} of type {found}: must be {wanted}")
    if shape is None and value.ndim != 1:
        raise HashfedError(f"{name} of shape {tuple(value.shape)}: must be a list")
    if shape is not None and tuple(value.shape) != tuple(shape):
        raise HashfedError(f"{name} of shape {tuple(value.shape)}: must be {tuple(shape)}")
