"""The end of every round: what a client's training changed."""

import math
from collections.abc import Callable

from hashfed.federated.checks import Limits, check_update
from hashfed.federated.compression import compress_update
from hashfed.federated.messages import Update
from hashfed.federated.protocols.outline import Outline, floats, ids
from hashfed.federated.protocols.step import ClientSide, Exchange, Received, ServerSide, Up


def update_of(train: Callable[[ClientSide, Received], Update]) -> Up:
    """The answer of a client that ``train`` makes."""
    return Up(Update, make=train, check=_check, outline=_outline)


def _check(server: ServerSide, exchange: Exchange, message: Update, limits: Limits) -> None:
    sent = server.sent_to_selectors(limits) if exchange.sent is None else exchange.sent
    check_update(message, server.round, server.shape, limits, sent, server.update_precision)


def _outline(of: Outline) -> Update:
    held = None if of.everything else ids(of.trained)
    loss = math.log(max(2, of.trained))
    tail = floats(of.planes, of.width) if of.planes else None
    rows = floats(of.trained, of.width)
    update = Update(
        of.round, of.predictions, loss, of.body, held, rows, {}, tail, of.touched_ids, of.touched_rows
    )
    return compress_update(update, of.compression.updates)
