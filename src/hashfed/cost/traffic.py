"""The bytes of a round's messages, from messages that have shapes but no content."""

import math

import numpy as np
import torch

from hashfed.config import Config
from hashfed.cost.keys import Hashing
from hashfed.cost.model_sizes import ModelSizes
from hashfed.cost.slices import BucketTraffic, fetched_slices
from hashfed.cost.variants import held_planes, held_rows
from hashfed.cost.workload import Workload
from hashfed.engines.budget import device_budget, sends_counts, sends_everything
from hashfed.engines.device_memory import PROBED_ROUND
from hashfed.federated import wire
from hashfed.federated.compression import NUMBERS, compress_rows, compress_update, compress_welcome
from hashfed.federated.messages import (
    DIGEST,
    Broadcast,
    ClientKeys,
    Declare,
    Manifest,
    Message,
    SelectedRows,
    Update,
    Welcome,
)
from hashfed.retrieval.planes import Planes


def message_bytes(
    config: Config,
    sizes: ModelSizes,
    size: int,
    workload: Workload,
    hashing: Hashing,
    buckets: BucketTraffic,
) -> dict[str, int]:
    """Bytes by kind of message, in the order of the round: those of ``wire.size`` on the real messages.

    With ``selection.oversample``, or where no row's logit happens to be corrected, it is the most that can be
    sent. ``slices`` are all those fetched: exact where ``buckets`` are, and no two rows are equal.

    Args:
        config: of the run.
        sizes: of the model.
        size: n.
        workload: the client's.
        hashing: its encoder and keys.
        buckets: that it fetches, where slices are pre-generated.

    """
    messages = round_messages(config, sizes, size, workload, hashing, buckets)
    found = {message.kind: wire.size(message) for message in messages}
    if config.selection.delivery == "pre-generated":
        received, _ = held_rows(config, size, len(workload.own))
        update = found.pop("update")
        found |= {"slices": fetched_slices(buckets, received, sizes.dimension)[1], "update": update}
    return found


def round_messages(
    config: Config,
    sizes: ModelSizes,
    size: int,
    workload: Workload,
    hashing: Hashing,
    buckets: BucketTraffic,
) -> list[Message]:
    """The messages of the round, in order; their arrays have no memory. Slices are not among them."""
    delivery, round, width = config.selection.delivery, PROBED_ROUND, sizes.dimension
    body = {name: _floats(*shape) for name, shape in sizes.body.items()}
    _, trained = held_rows(config, size, len(workload.own))
    ids = None if sends_everything(config) else _ids(trained)
    loss = math.log(max(2, trained))
    planes = held_planes(config, size, len(workload.own), hashing.planes)
    tail = _floats(planes, width) if planes else None
    update = Update(round, workload.predictions, loss, body, ids, _floats(trained, width), tail=tail)
    found: list[Message]
    if delivery == "broadcast":
        prior = _ids(size) if sends_counts(config) else None
        found = [Broadcast(round, body, _floats(size, width), prior)]
    elif delivery == "pre-generated":
        found = [_manifest(config, body, size, width, hashing, buckets)]
    else:
        found = _asked(config, body, size, width, workload, hashing)
    return [*found, compress_update(update, config.compression.updates)]


def _asked(
    config: Config,
    body: dict[str, torch.Tensor],
    size: int,
    width: int,
    workload: Workload,
    hashing: Hashing,
) -> list[Message]:
    """What goes to and fro before training, on demand."""
    round, encoder, precision = PROBED_ROUND, hashing.encoder, config.compression.rows
    received, trained = held_rows(config, size, len(workload.own))

    def welcome(own: int) -> Welcome:
        rows = _floats(own, width)
        message = Welcome(round, body, rows, encoder.kind, encoder.numbers(), encoder.arrays())
        return compress_welcome(message, precision)

    def selected(
        budget: int,
        ids: np.ndarray | None,
        rows: int,
        weights: torch.Tensor | None,
        planes: Planes | None = None,
    ) -> SelectedRows:
        message = SelectedRows(round, budget, ids, _floats(rows, width), weights, planes)
        return compress_rows(message, precision)

    if sends_everything(config):
        return [welcome(0), selected(size, None, size, None)]
    own = len(workload.own)
    budget, new = device_budget(config, size, own), received - own
    corrected = config.selection.correction != "none" and new > 0 and trained < size
    weights = _floats(new) if corrected else None
    planes = held_planes(config, size, own, hashing.planes)
    return [
        Declare(round, _ids(own), budget),
        welcome(own),
        *([ClientKeys(round, dict(hashing.keys), dict(hashing.sketch))] if hashing.asked else []),
        selected(budget, _ids(new), new, weights, _planes(config, planes, width) if planes else None),
    ]


def _planes(config: Config, count: int, width: int) -> Planes:
    """As ``retrieval.planes`` makes them."""
    slopes = _floats(count, width).to(NUMBERS[config.compression.rows])
    return Planes(_floats(count), slopes, _floats(count), slopes)


def _manifest(
    config: Config,
    body: dict[str, torch.Tensor],
    size: int,
    width: int,
    hashing: Hashing,
    buckets: BucketTraffic,
) -> Manifest:
    encoder, many = hashing.encoder, buckets.filled
    shape = config.retrieval.bucket_shape if hashing.asked else None
    several = 1 if shape is None else shape.ranges
    return Manifest(
        PROBED_ROUND,
        width,
        body,
        encoder.kind,
        encoder.numbers(),
        np.empty((size, DIGEST), np.uint8),
        _ids(many),
        _ids(many),
        np.empty((many, DIGEST), np.uint8),
        encoder.arrays(),
        _ids(size) if sends_counts(config) else None,
        np.empty(size, np.uint8) if several > 1 else None,
        np.empty(several) if several > 1 else None,
    )


def _floats(*shape: int) -> torch.Tensor:
    """A float32 array without memory."""
    return torch.empty(shape, device="meta")


def _ids(count: int) -> np.ndarray:
    """Row numbers that nobody reads."""
    return np.empty(count, np.int32)
