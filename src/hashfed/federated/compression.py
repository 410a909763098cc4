"""Numbers of messages in fewer bits: float16, bfloat16, or int8 with a float32 scale per slice.

A compressed message is of the same class as before, with arrays of the narrow type, so the wire needs to know
nothing of it. ``expand`` gives float32 again; of a message that is not compressed it makes no copy. Row
numbers and ``log_weight`` are never compressed.

int8 is symmetric (Jacob et al. 2018, "Quantization and Training of Neural Networks for Efficient
Integer-Arithmetic-Only Inference", without a zero point): a slice is a row of the row table, an entry of
the first dimension of a matrix of the body, or a whole vector. Its scale is its largest magnitude / 127, so
what is sent differs from the value by at most half a scale.

All functions also work on arrays of device "meta", which have shapes but no content.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import TypeVar

import torch

from hashfed.errors import HashfedError
from hashfed.federated.messages import SelectedRows, Update, Welcome
from hashfed.federated.settings import RowPrecision, UpdatePrecision
from hashfed.retrieval.planes import Planes

LARGEST = 127
"""Of int8, so that the range is symmetric."""
TINY = torch.finfo(torch.float32).tiny
"""Smallest scale: one below it is not a normal number, and that of a row of zeros would be zero."""
NUMBERS: dict[UpdatePrecision, torch.dtype] = {
    "none": torch.float32,
    "float16": torch.float16,
    "bfloat16": torch.bfloat16,
    "int8": torch.int8,
}
"""Type of the arrays that are compressed."""

Compressible = TypeVar("Compressible", Welcome, SelectedRows, Update)


def compress_welcome(message: Welcome, precision: RowPrecision) -> Welcome:
    """Body and own rows in ``precision``, rounded to nearest, ties to even; the message itself for none.

    A magnitude above 65504 is infinite in float16.
    """
    if precision == "none":
        return message
    dtype = NUMBERS[precision]
    return replace(
        message,
        body=_cast(message.body, dtype),
        own_rows=message.own_rows.to(dtype),
        input_rows=_cast(message.input_rows, dtype),
    )


def compress_rows(message: SelectedRows, precision: RowPrecision) -> SelectedRows:
    """Rows in ``precision``, as ``compress_welcome``; planes were made in it (``planes.make_planes``)."""
    return message if precision == "none" else replace(message, rows=message.rows.to(NUMBERS[precision]))


def compress_update(message: Update, precision: UpdatePrecision) -> Update:
    """Changes of body and rows in ``precision``; the message itself for none.

    For int8, ``scales`` holds (m,) for ``rows``, so for ``input_rows.TABLE``, and (s,) for ``body.NAME`` of s
    slices, (1,) for a vector.
    A slice that is not finite stays so: its scale is not finite.
    """
    if precision == "none":
        return message
    if precision != "int8":
        dtype = NUMBERS[precision]
        return map_changes(message, lambda name, value: value.to(dtype))
    scales: dict[str, torch.Tensor] = {}

    def narrow(name: str, value: torch.Tensor) -> torch.Tensor:
        found, scales[name] = to_int8(value)
        return found

    return replace(map_changes(message, narrow), scales=scales)


def expand(message: Compressible) -> Compressible:
    """The message in float32; what already is float32 is not copied.

    Raises:
        HashfedError: where an array is of another type than compression makes, or an int8 array has no scale,
            or one that does not fit.

    """
    if isinstance(message, Welcome):
        body = {name: _widened(f"body.{name}", value) for name, value in message.body.items()}
        inputs = {name: _widened(f"input_rows.{name}", value) for name, value in message.input_rows.items()}
        own_rows = _widened("own_rows", message.own_rows)
        return replace(message, body=body, own_rows=own_rows, input_rows=inputs)
    if isinstance(message, SelectedRows):
        planes = message.planes
        if planes is not None:
            planes = Planes(
                **{name: _widened(f"planes.{name}", value) for name, value in vars(planes).items()}
            )
        return replace(message, rows=_widened("rows", message.rows), planes=planes)
    scales = message.scales
    expanded = map_changes(message, lambda name, value: _expanded(name, value, scales))
    return replace(expanded, scales={})


def map_changes(message: Update, of: Callable[[str, torch.Tensor], torch.Tensor]) -> Update:
    """The update with ``of`` the name and value of each array of changes: of rows, tail, body and inputs."""
    return replace(
        message,
        rows=of("rows", message.rows),
        tail=None if message.tail is None else of("tail", message.tail),
        body={name: of(f"body.{name}", value) for name, value in message.body.items()},
        input_rows={name: of(f"input_rows.{name}", value) for name, value in message.input_rows.items()},
    )


def to_int8(value: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Integers from −127 to 127 of the shape of ``value``, rounded half to even, and their scales (s,)."""
    slices = _slices(value)
    peak = torch.linalg.vector_norm(slices, torch.inf, dim=1)
    scale = peak.div_(LARGEST).clamp_min_(TINY)
    whole = (slices / scale[:, None]).round_().clamp_(-LARGEST, LARGEST)
    return whole.to(torch.int8).view(value.shape), scale


def from_int8(value: torch.Tensor, scale: torch.Tensor) -> torch.Tensor:
    """What ``to_int8`` stands for, float32."""
    return _slices(value.float()).mul_(scale[:, None]).view(value.shape)


def scale_count(shape: Sequence[int]) -> int:
    """How many scales int8 has for an array of this shape."""
    return shape[0] if len(shape) > 1 else 1


def _slices(value: torch.Tensor) -> torch.Tensor:
    """(s, …) as a matrix (s, k); a vector as (1, k)."""
    return value.flatten(1) if value.dim() > 1 else value.view(1, -1)


def _cast(tensors: Mapping[str, torch.Tensor], dtype: torch.dtype) -> dict[str, torch.Tensor]:
    return {name: value.to(dtype) for name, value in tensors.items()}


def _widened(name: str, value: torch.Tensor) -> torch.Tensor:
    """Float32."""
    if value.dtype not in (torch.float32, torch.float16, torch.bfloat16):
        found = str(value.dtype).removeprefix("torch.")
        raise HashfedError(
            f"{name} of type {found}: must be float32, or float16 or bfloat16 where compressed"
        )
    return value.float()


def _expanded(name: str, value: torch.Tensor, scales: Mapping[str, torch.Tensor]) -> torch.Tensor:
    if value.dtype != torch.int8:
        return _widened(name, value)
    count = scale_count(value.shape)
    scale = scales.get(name)
    if scale is None or scale.shape != (count,):
        found = None if scale is None else tuple(scale.shape)
        raise HashfedError(f"an update's scale of {name} = {found}: must be of shape {(count,)} for int8")
    return from_int8(value, scale)
