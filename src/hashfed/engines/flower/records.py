"""hashfed's messages as Flower's records, and back.

Each array of a message is an ``Array`` under its own name, so that Flower sends equal arrays once (the
body, the same for every client) and its mods see them; the other fields are texts in a ``ConfigRecord``.
"""

import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import cast

import numpy as np
import torch
from flwr.app import Array, ArrayRecord, ConfigRecord, MetricRecord, RecordDict
from flwr.supercore.inflatable.inflatable_object import get_all_nested_objects

from hashfed.errors import HashfedError
from hashfed.federated.messages import KINDS, Message

NUMPY = "numpy.ndarray"
BFLOAT16 = "bfloat16"
"""numpy has no such type: the bits travel as int16 under this name."""

NOBODY = ""
"""Under which a shared message travels: no client has an empty name."""


@dataclass
class Parcel:
    """What one Flower message carries between the server and a node, which may host several clients.

    Attributes:
        round: of all of it.
        messages: by client; in one parcel a client has at most one message of each kind.
        shared: one message for all ``receivers``, by kind.
        receivers: clients that it is for.
        problems: by client, what went wrong instead.
        reports: by client, numbers about what it did.

    """

    round: int
    messages: dict[str, dict[str, Message]] = field(default_factory=dict)
    shared: dict[str, Message] = field(default_factory=dict)
    receivers: list[str] = field(default_factory=list)
    problems: dict[str, str] = field(default_factory=dict)
    reports: dict[str, dict[str, float]] = field(default_factory=dict)

    def add(self, client: str, message: Message) -> None:
        """Put in one message."""
        self.messages.setdefault(client, {})[message.kind] = message


def pack(parcel: Parcel) -> RecordDict:
    """The parcel as records."""
    records = RecordDict()
    boxes = parcel.messages | ({NOBODY: parcel.shared} if parcel.shared else {})
    items = [(client, message) for client, kinds in boxes.items() for message in kinds.values()]
    head: dict[str, int | list[str]] = {"round": parcel.round}
    for name, texts in (
        ("clients", [client for client, _ in items]),
        ("kinds", [message.kind for _, message in items]),
        ("receivers", parcel.receivers),
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
        known = {"head", "request", "time"}
        head = records["head"]
        parcel = Parcel(int(head["round"]))  # type: ignore[arg-type]
        for position, (client, kind) in enumerate(
            zip(_texts(head, "clients"), _texts(head, "kinds"), strict=True)
        ):
            known |= {f"{position}.arrays", f"{position}.numbers"}
            found = cast(ArrayRecord, records[f"{position}.arrays"])
            parcel.add(client, read(kind, found, records[f"{position}.numbers"]))
        parcel.shared = parcel.messages.pop(NOBODY, {})
        parcel.receivers = _texts(head, "receivers")
        parcel.problems = dict(zip(_texts(head, "failed"), _texts(head, "problems"), strict=True))
        for position, client in enumerate(_texts(head, "reported")):
            known.add(f"{position}.report")
            report = cast(Mapping[str, float], records[f"{position}.report"])
            parcel.reports[client] = {str(name): float(value) for name, value in report.items()}
        extra = sorted(set(records) - known)
        if extra:
            raise ValueError(f"unexpected record {extra[0]}")
        return parcel
    except (KeyError, ValueError, TypeError, AttributeError, EOFError, struct.error) as error:
        raise HashfedError(f"not a message of hashfed ({type(error).__name__}: {error})") from None


def arrays(tensors: Mapping[str, torch.Tensor]) -> ArrayRecord:
    """Tensors by name."""
    return ArrayRecord({name: _array(value) for name, value in tensors.items()})


def read(kind: str, record: ArrayRecord, numbers: Mapping[str, object]) -> Message:
    """A message from its records.

    Raises:
        KeyError, ValueError, TypeError: where they hold something else, or more.

    """
    texts = {str(name): str(value) for name, value in numbers.items()}
    message = KINDS[kind].read(tensors(record), texts)
    extra = sorted(set(record) - set(message.tensors()) | set(texts) - set(message.numbers()))
    if extra:
        raise ValueError(f"unexpected {extra[0]} in {kind}")
    return message


def tensors(record: ArrayRecord) -> dict[str, torch.Tensor]:
    """The tensors of a record; nothing is unpickled.

    Raises:
        ValueError, TypeError: where an array is not in numpy's format, or holds objects.

    """
    return dict(_tensors(record))


def size(records: RecordDict) -> int:
    """Bytes of all that Flower serializes for these records; equal objects travel, and count, once."""
    return sum(len(item.deflate()) for item in get_all_nested_objects(records).values())


def _array(value: torch.Tensor) -> Array:
    value = value.detach().cpu().contiguous()
    if value.dtype == torch.bfloat16:
        found = Array(value.view(torch.int16).numpy())
        return Array(BFLOAT16, found.shape, NUMPY, found.data)
    return Array(value.numpy())


def _tensors(record: ArrayRecord) -> Iterator[tuple[str, torch.Tensor]]:
    for name, array in record.items():
        # Flower reads with allow_pickle=False; read-only memory is copied so that torch may use it.
        value = torch.from_numpy(np.require(array.numpy(), requirements=["C", "W"]))
        if array.dtype == BFLOAT16:
            value = value.view(torch.bfloat16)
        yield str(name), value


def _texts(head: Mapping[str, object], name: str) -> list[str]:
    found = head.get(name, [])
    if not isinstance(found, list):
        raise TypeError(f"{name} is no list")
    return [str(item) for item in found]
