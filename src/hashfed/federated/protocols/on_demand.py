"""Rows on demand (paper, section 3.2, steps 2 to 5): declaration and keys go up, rows come down."""

from dataclasses import replace

import numpy as np

from hashfed.federated.checks import (
    Limits,
    RowsSent,
    check_declare,
    check_keys,
    check_selected,
    check_welcome,
)
from hashfed.federated.client import kept_rows
from hashfed.federated.compression import NUMBERS, compress_rows, compress_welcome, expand
from hashfed.federated.messages import ClientKeys, Declare, SelectedRows, Welcome
from hashfed.federated.protocols.outline import Outline, floats, ids
from hashfed.federated.protocols.step import ClientSide, Down, Exchange, Received, ServerSide, Step, Up, take
from hashfed.federated.protocols.update import update_of
from hashfed.retrieval.planes import Planes


def _check_declared(server: ServerSide, exchange: Exchange, message: Declare, limits: Limits) -> None:
    check_declare(message, server.round, server.shape, limits)


DECLARED = Up(
    Declare,
    make=lambda client, got: client.declared,
    check=_check_declared,
    outline=lambda of: Declare(
        of.round, ids(0 if of.everything else of.own), of.size if of.everything else of.budget, of.touched_ids
    ),
)


def check_welcomed(client: ClientSide, message: Welcome) -> None:
    """Refuse a welcome that is not for this client."""
    check_welcome(expand(message), client.round, client.shape, client.declared, client.encoder_shape)


def _welcome_outline(of: Outline) -> Welcome:
    rows = floats(0 if of.everything else of.own, of.width)
    encoder = of.encoder.kind, of.encoder.numbers(), of.encoder.arrays()
    message = Welcome(of.round, of.body, rows, *encoder, of.touched_rows)
    return compress_welcome(message, of.compression.rows)


WELCOME = Down(
    Welcome,
    make=lambda server, exchange: server.welcome(server.declared(exchange)),
    check=check_welcomed,
    outline=_welcome_outline,
)


def _hash(client: ClientSide, got: Received) -> ClientKeys:
    welcome = got[Welcome.kind]
    assert isinstance(welcome, Welcome)
    return client.hash(welcome)


def _check_keys(server: ServerSide, exchange: Exchange, message: ClientKeys, limits: Limits) -> None:
    check_keys(message, server.round, limits, server.encoder, server.sketcher)


KEYS = Up(
    ClientKeys,
    make=_hash,
    check=_check_keys,
    outline=lambda of: ClientKeys(of.round, dict(of.keys), dict(of.sketch)),
)


def _select(server: ServerSide, exchange: Exchange) -> SelectedRows:
    declared, keys = server.declared(exchange), exchange.answers.pop(ClientKeys.kind, None)
    assert keys is None or isinstance(keys, ClientKeys)
    selected, tail = server.select(exchange.client, declared, keys)
    exchange.sent = replace(rows_sent(declared, selected, server.shape.size), tail=tail)
    return selected


def check_rows(client: ClientSide, message: SelectedRows) -> None:
    """Refuse rows that are not for this client."""
    check_selected(expand(message), client.round, client.shape, client.agreed_budget, client.most_planes)


def _rows_outline(of: Outline) -> SelectedRows:
    precision = of.compression.rows
    if of.everything:
        message = SelectedRows(of.round, of.size, None, floats(of.size, of.width), None)
    else:
        new = of.received - of.own
        slopes = floats(of.planes, of.width).to(NUMBERS[precision])
        planes = Planes(floats(of.planes), slopes, floats(of.planes), slopes) if of.planes else None
        weights = floats(new) if of.corrected and new > 0 and of.trained < of.size else None
        message = SelectedRows(of.round, of.budget, ids(new), floats(new, of.width), weights, planes)
    return compress_rows(message, precision)


ROWS = Down(SelectedRows, make=_select, check=check_rows, outline=_rows_outline, timed="retrieve")


def rows_sent(declared: Declare, selected: SelectedRows, size: int) -> RowsSent:
    """What a client was sent, and how much of it must and may come back (``federated.client.drop_rows``)."""
    if selected.ids is None:
        return RowsSent(None, size, size, False, inputs=declared.inputs)
    tail = 0 if selected.log_weight is None else int((selected.log_weight > 0).sum())
    held = np.sort(np.concatenate([declared.own, selected.ids]))
    kept = kept_rows(len(held), len(declared.own) + tail, selected.budget)
    return RowsSent(held, kept, kept, True, inputs=declared.inputs)


UPDATE = update_of(lambda client, got: client.train(take(got, Welcome), take(got, SelectedRows)))

STEPS = (
    Step("declare", (), DECLARED, ahead=True, where=lambda terms: terms.declares),
    Step("hash", (WELCOME,), KEYS, where=lambda terms: terms.asks),
    Step("train", (ROWS,), UPDATE, needs=(WELCOME,)),
)
