"""The bytes of a round's messages, from messages that have shapes but no content."""

import math

import numpy as np
import torch

from hashfed.config import Config
from hashfed.engines.device_memory import PROBED_ROUND
from hashfed.engines.exchange import device_budget, sends_everything
from hashfed.experiments.cost.keys import Hashing
from hashfed.experiments.cost.model_sizes import ModelSizes
from hashfed.experiments.cost.variants import held_rows
from hashfed.experiments.cost.workload import Workload
from hashfed.federated import wire
from hashfed.federated.compression import compress_rows, compress_update, compress_welcome
from hashfed.federated.messages import ClientKeys, Declare, Message, SelectedRows, Update, Welcome


def message_bytes(
    config: Config, sizes: ModelSizes, size: int, workload: Workload, hashing: Hashing
) -> dict[str, int]:
    """Bytes by kind of message, in the order of the round: those of ``wire.size`` on the real messages.

    With ``selection.oversample``, or where no row's logit happens to be corrected, it is the most that can be
    sent.

    Args:
        config: of the run.
        sizes: of the model.
        size: n.
        workload: the client's.
        hashing: its encoder and keys.

    """
    messages = round_messages(config, sizes, size, workload, hashing)
    return {message.kind: wire.size(message) for message in messages}


def round_messages(
    config: Config, sizes: ModelSizes, size: int, workload: Workload, hashing: Hashing
) -> list[Message]:
    """The messages of the round, in order; their arrays have no memory."""
    round, width = PROBED_ROUND, sizes.dimension
    body = {name: _floats(*shape) for name, shape in sizes.body.items()}
    received, trained = held_rows(config, size, len(workload.own))
    encoder, compression = hashing.encoder, config.compression
    loss = math.log(max(2, trained))

    def welcome(own: int) -> Welcome:
        rows = _floats(own, width)
        message = Welcome(round, body, rows, encoder.kind, encoder.numbers(), encoder.arrays())
        return compress_welcome(message, compression.rows)

    def selected(
        budget: int, ids: np.ndarray | None, rows: int, weights: torch.Tensor | None
    ) -> SelectedRows:
        message = SelectedRows(round, budget, ids, _floats(rows, width), weights)
        return compress_rows(message, compression.rows)

    def update(ids: np.ndarray | None, rows: int) -> Update:
        message = Update(round, workload.predictions, loss, body, ids, _floats(rows, width))
        return compress_update(message, compression.updates)

    if sends_everything(config):
        return [
            welcome(0),
            selected(size, None, size, None),
            update(None, size),
        ]
    budget, own = device_budget(config, size), len(workload.own)
    new = received - own
    corrected = config.selection.correction == "tail" and new > 0 and received < size
    weights = _floats(new) if corrected else None
    return [
        Declare(round, _ids(own), budget),
        welcome(own),
        *([ClientKeys(round, dict(hashing.keys))] if hashing.asked else []),
        selected(budget, _ids(new), new, weights),
        update(_ids(trained), trained),
    ]


def _floats(*shape: int) -> torch.Tensor:
    """A float32 array without memory."""
    return torch.empty(shape, device="meta")


def _ids(count: int) -> np.ndarray:
    """Row numbers that nobody reads."""
    return np.empty(count, np.int32)
