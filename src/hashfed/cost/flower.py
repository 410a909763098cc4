"""The bytes of a round over Flower, from messages that are built as they are sent."""

import math

import torch

from hashfed.config import Config
from hashfed.cost.keys import Hashing
from hashfed.cost.model_sizes import ModelSizes
from hashfed.cost.slices import BucketTraffic, typical_buckets
from hashfed.cost.traffic import round_messages
from hashfed.cost.workload import Workload
from hashfed.engines.client_round import ClientReport
from hashfed.engines.flower import records
from hashfed.engines.flower.client_app import time_record
from hashfed.engines.flower.transport import make_request
from hashfed.engines.network.exchanges import TRAIN
from hashfed.engines.network.parcel import Parcel
from hashfed.engines.network.reports import hash_report, train_report
from hashfed.engines.network.round_play import feedback_request, slices_place, slices_request
from hashfed.engines.network.transport import More
from hashfed.federated import wire
from hashfed.federated.messages import KINDS, Message, SelectedRows
from hashfed.federated.slices import Wanted

SETUP = "0" * 64
"""As long as the checksum of a run."""


def exchange_bytes(
    config: Config,
    sizes: ModelSizes,
    size: int,
    workload: Workload,
    hashing: Hashing,
    buckets: BucketTraffic | None = None,
) -> dict[str, dict[str, int]]:
    """Bytes ``down`` and ``up`` by exchange: ``declare``, ``hash``, ``train``; those that there are.

    They are of a node that hosts one client, in the first 63 rounds (a larger number may take a byte more),
    and of arrays that all differ (Flower sends equal ones once: a fresh model has some). The declaration is
    counted as an exchange of its own; where it rides along with the training of the round before it is
    smaller. Slices are not fetched through Flower, nor is their manifest.

    Args:
        config: of the run.
        sizes: of the model.
        size: n.
        workload: the client's.
        hashing: its encoder and keys.
        buckets: that it fetches; those of a typical index where nobody knows.

    """
    buckets = buckets or typical_buckets(config.retrieval.bucket_shape, hashing, size)
    listed = round_messages(config, sizes, size, workload, hashing, buckets)
    messages = {message.kind: _filled(message) for message in listed}
    name, report = workload.client, ClientReport(workload.client)
    rows_message = messages.get("rows")
    if isinstance(rows_message, SelectedRows) and rows_message.planes is not None:
        report.bounded = 0  # its report says so
    if config.selection.delivery != "on-demand":
        return {"train": _train_of_a_selector(config, workload, messages)}
    found = {}
    if "declare" in messages:
        asked = _bytes(workload, [], {}, (1, [name]))
        found["declare"] = {"down": asked, "up": _bytes(workload, [messages["declare"]], {}, None)}
    if "keys" in messages:
        found["hash"] = {
            "down": _bytes(workload, [messages["welcome"]], {}, (0, [])),
            "up": _bytes(workload, [messages["keys"]], hash_report(report), None),
        }
    rows = [messages["rows"]] if "keys" in messages else [messages["welcome"], messages["rows"]]
    found["train"] = {
        "down": _bytes(workload, rows, {}, (0, []), _feedback(config)),
        "up": _bytes(workload, [messages["update"]], train_report(report), None),
    }
    return found


def _train_of_a_selector(config: Config, workload: Workload, messages: dict[str, Message]) -> dict[str, int]:
    """The one exchange of a client that selects by itself."""
    report, parcel = ClientReport(workload.client), Parcel(1)
    more: More = {}
    if "broadcast" in messages:
        parcel.shared = {"broadcast": messages["broadcast"]}
    else:
        report.bytes["slices"] = 0
        more = slices_request(slices_place(config), Wanted(SETUP, wire.size(messages["manifest"])))
    content = records.pack(parcel)
    more = {**more, TRAIN: [workload.client], **_feedback(config)}
    content["request"] = make_request(SETUP, 1, (0, []), more)
    up = _bytes(workload, [messages["update"]], train_report(report), None)
    return {"down": records.size(content), "up": up}


def _feedback(config: Config) -> More:
    return feedback_request([0]) if config.compression.error_feedback else {}


def _bytes(
    workload: Workload,
    messages: list[Message],
    report: dict[str, float],
    declare: tuple[int, list[str]] | None,
    more: More | None = None,
) -> int:
    """Of one Flower message: a request where ``declare`` says who is also to declare, else an answer."""
    round = 1
    parcel = Parcel(round)
    for message in messages:
        parcel.add(workload.client, message)
    if report:
        parcel.reports[workload.client] = report
    content = records.pack(parcel)
    if declare is None:
        content["time"] = time_record(0.0)
    else:
        content["request"] = make_request(SETUP, round, declare, more)
    return records.size(content)


def _filled(message: Message) -> Message:
    """The same with memory; no two of its arrays are equal."""
    tensors = {
        name: value if value.device.type != "meta" else _unlike(value, position)
        for position, (name, value) in enumerate(message.tensors().items())
    }
    return KINDS[message.kind].read(tensors, message.numbers())


def _unlike(value: torch.Tensor, position: int) -> torch.Tensor:
    count = math.prod(value.shape)
    numbers = torch.arange(position, position + count) % 113
    return numbers.to(value.dtype).reshape(value.shape)
