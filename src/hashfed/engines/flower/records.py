"""hashfed's messages as Flower's records, and back.

The arrays of a message are two ``Array``s, safetensors files of the body and of the rest: Flower sends equal
ones once (the body, the same for every client of a node), and each one costs several requests between
SuperLink, SuperNode and ClientApp, whatever its size. The other fields are texts in a ``ConfigRecord``.
"""

from collections.abc import Collection, Iterable, Mapping
from typing import cast

import torch
from flwr.app import Array, ArrayRecord, ConfigRecord, MetricRecord, RecordDict
from flwr.supercore.inflatable.inflatable_object import get_all_nested_objects
from safetensors import SafetensorError
from safetensors.torch import load, save

from hashfed.engines.network.exchanges import FIELDS, asked_ahead
from hashfed.engines.network.parcel import Parcel
from hashfed.errors import HashfedError
from hashfed.federated import wire
from hashfed.federated.messages import KINDS, Message
from hashfed.federated.protocols import all_steps

SAFETENSORS = "safetensors"
BODY, REST = "body", "rest"
"""Names of the two arrays; the first holds all names that begin with ``body.``."""
HEAD = {"round", "clients", "kinds", "failed", "problems", "reported"}
"""Fields of the record ``head``."""
TIME = "time", {"seconds"}
"""A record that travels beside a parcel, and its fields; the other is ``request``."""
NOBODY = ""
"""Under which a shared message travels: no client has an empty name."""


def pack(parcel: Parcel) -> RecordDict:
    """The parcel as records."""
    records = RecordDict()
    boxes = parcel.messages | ({NOBODY: parcel.shared} if parcel.shared else {})
    items = [(client, message) for client, kinds in boxes.items() for message in kinds.values()]
    head: dict[str, int | list[str]] = {"round": parcel.round}
    for name, texts in (
        ("clients", [client for client, _ in items]),
        ("kinds", [message.kind for _, message in items]),
        ("failed", list(parcel.problems)),
        ("problems", list(parcel.problems.values())),
        ("reported", list(parcel.reports)),
    ):
        if texts:
            head[name] = texts
    records["head"] = ConfigRecord(head)  # type: ignore[arg-type]
    for position, (_, message) in enumerate(items):
        records[f"{position}.arrays"] = arrays(message.tensors())
        records[f"{position}.numbers"] = ConfigRecord(dict(message.numbers()))
    for position, report in enumerate(parcel.reports.values()):
        records[f"{position}.report"] = MetricRecord(dict(report))
    return records


def unpack(records: RecordDict) -> Parcel:
    """What ``pack`` made.

    Raises:
        HashfedError: where the records are none of hashfed's.

    """
    try:
        return _unpack(records)
    except Exception as error:
        # Nobody can list what libraries raise for bytes that somebody made up.
        raise HashfedError(f"not a message of hashfed ({type(error).__name__}: {error})") from None


def _unpack(records: RecordDict) -> Parcel:
    head = records["head"]
    _only("head", head, HEAD)
    parcel, known = Parcel(_round(head)), {"head"}
    for name, fields in (TIME, ("request", _request_fields())):
        known.add(name)
        _only(name, records.get(name, {}), fields)
    for position, (client, kind) in enumerate(
        zip(_texts(head, "clients"), _texts(head, "kinds"), strict=True)
    ):
        known |= {f"{position}.arrays", f"{position}.numbers"}
        if kind in parcel.messages.get(client, {}):
            raise ValueError(f"two messages {kind} of client {client}")
        found = cast(ArrayRecord, records[f"{position}.arrays"])
        parcel.add(client, read(kind, found, records[f"{position}.numbers"]))
    parcel.shared = parcel.messages.pop(NOBODY, {})
    parcel.problems = dict(zip(_texts(head, "failed"), _texts(head, "problems"), strict=True))
    for position, client in enumerate(_texts(head, "reported")):
        known.add(f"{position}.report")
        report = cast(Mapping[str, float], records[f"{position}.report"])
        parcel.reports[client] = {str(name): float(value) for name, value in report.items()}
    _only("a message", records, known)
    return parcel


def arrays(tensors: Mapping[str, torch.Tensor]) -> ArrayRecord:
    """Tensors by name."""
    parts: dict[str, dict[str, torch.Tensor]] = {}
    for name, value in tensors.items():
        parts.setdefault(_part(name), {})[name] = value.detach().cpu().contiguous()
    return ArrayRecord({part: _array(save(held)) for part, held in sorted(parts.items())})


def read(kind: str, record: ArrayRecord, numbers: Mapping[str, object]) -> Message:
    """A message from its records.

    Raises:
        KeyError, ValueError, TypeError: where they hold something else, or more.

    """
    texts = {str(name): str(value) for name, value in numbers.items()}
    found = tensors(record)
    message = KINDS[kind].read(found, texts)
    extra = sorted(set(found) - set(message.tensors()) | set(texts) - set(message.numbers()))
    if extra:
        raise ValueError(f"unexpected {extra[0]} in {kind}")
    return message


def tensors(record: ArrayRecord) -> dict[str, torch.Tensor]:
    """The tensors of a record.

    Raises:
        ValueError: where an array is no safetensors file, or holds names that are not its own or a type
            that no message has.

    """
    found: dict[str, torch.Tensor] = {}
    for part, array in record.items():
        if part not in (BODY, REST):
            raise ValueError(f"unexpected array {part}")
        try:
            held = load(array.data)
        except (SafetensorError, RuntimeError) as error:  # RuntimeError: a shape that torch cannot make
            raise ValueError(f"array {part}: {error}") from None
        strange = sorted(name for name in held if _part(name) != part)
        if strange:
            raise ValueError(f"unexpected {strange[0]} in array {part}")
        for name, value in held.items():
            if value.dtype not in wire.DTYPES:
                raise ValueError(f"{name} of type {str(value.dtype).removeprefix('torch.')}")
        found |= held
    return found


def size(records: RecordDict) -> int:
    """Bytes of all that Flower serializes for these records; equal objects travel, and count, once."""
    return sum(len(item.deflate()) for item in get_all_nested_objects(records).values())


def _request_fields() -> set[str]:
    """Those that some step has, under its name the clients that are asked where no message names them."""
    steps = {step.name for step in all_steps()}
    ahead = {asked_ahead(step.name) for step in all_steps() if step.ahead}
    return {"setup", "round", *FIELDS} | steps | ahead


def _part(name: str) -> str:
    return BODY if name.startswith("body.") else REST


def _array(data: bytes) -> Array:
    return Array(dtype="uint8", shape=(len(data),), stype=SAFETENSORS, data=data)


def _round(head: Mapping[str, object]) -> int:
    found = head["round"]
    if isinstance(found, bool) or not isinstance(found, int) or found < 0:
        raise ValueError(f"round = {found}")
    return found


def _only(where: str, found: Iterable[str], known: Collection[str]) -> None:
    extra = sorted(set(found) - set(known))
    if extra:
        raise ValueError(f"unexpected {extra[0]} in {where}")


def _texts(head: Mapping[str, object], name: str) -> list[str]:
    found = head.get(name, [])
    if not isinstance(found, list):
        raise TypeError(f"{name} is no list")
    return [str(item) for item in found]
