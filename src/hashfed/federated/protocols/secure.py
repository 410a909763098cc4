"""Sums alone (``selection.delivery: secure``): the same rows for all, and one vector of each under masks.

No client names a row, a bucket or itself but as one of the cohort. Without masks (``secure.masks``) the
vectors are sent as they are, and the numbers are the same.
"""

from collections.abc import Callable
from typing import Any

import numpy as np

from hashfed.federated.checks import Limits, check_common
from hashfed.federated.messages import Common, Contribution, Message
from hashfed.federated.privacy.messages import (
    Inbox,
    KeyShares,
    MaskedVector,
    PublicKeys,
    RosterPart,
    Survivors,
    Unmasking,
    outlines,
)
from hashfed.federated.privacy.packing import pack, packed_size
from hashfed.federated.protocols.outline import Outline, floats, ids
from hashfed.federated.protocols.step import (
    ClientSide,
    Down,
    Exchange,
    Received,
    ServerSide,
    Step,
    Up,
    take,
)
from hashfed.federated.sum_session import MaskedSession, OpenSession, session_parameters


def _check_common(client: ClientSide, message: Common) -> None:
    check_common(message, client.round, client.shape, client.common_plan)


def _unchecked(server: ServerSide, exchange: Exchange, message: Any, limits: Limits) -> None:
    """What fits a sum is known by the session, which takes it."""


def _common_outline(of: Outline) -> Common:
    plan = of.plan
    planes, some = plan.planes, plan.rows < of.size
    return Common(
        of.round,
        of.body,
        floats(of.size, of.width),
        ids(plan.rows) if some else None,
        np.empty(plan.rows, np.float32) if some and of.corrected else None,
        np.empty(len(plan.layout.shapes)),
        floats(planes, of.width) if planes else None,
        floats(planes) if planes else None,
        floats(planes, of.width) if planes else None,
        floats(planes, planes) if planes and plan.clips else None,
        {name: floats(*shape) for name, shape in of.inputs.items()},
    )


COMMON = Down(
    Common,
    make=lambda server, exchange: server.common(),
    check=_check_common,
    outline=_common_outline,
    scope="cohort",
)


def _open(server: ServerSide) -> OpenSession:
    session = server.session
    assert isinstance(session, OpenSession)
    return session


def _masked(server: ServerSide) -> MaskedSession:
    session = server.session
    assert isinstance(session, MaskedSession)
    return session


def _contribute(client: ClientSide, got: Received) -> Contribution:
    numbers = client.contribute(take(got, Common))
    plan = client.common_plan
    below = np.uint32((1 << plan.open_bits) - 1)
    return Contribution(client.round, pack(numbers.astype(np.uint32) & below, plan.open_bits))


CONTRIBUTION = Up(
    Contribution,
    make=_contribute,
    check=_unchecked,
    outline=lambda of: Contribution(of.round, _packed(of.plan.layout.length, of.plan.open_bits)),
    take=lambda server, exchange, message: _open(server).take(exchange.client, message),
)


def _told(kind: type[Message]) -> Down:
    return Down(
        kind,
        make=lambda server, exchange: _masked(server).told(exchange.client),
        check=lambda client, message: None,  # by the client's part of the session, which takes it
        outline=_of_session(kind),
    )


def _advertise(client: ClientSide, got: Received) -> PublicKeys:
    return client.secrets.advertise(client.sum_context)


def _share(client: ClientSide, got: Received) -> KeyShares:
    plan = client.common_plan
    return client.secrets.share(take(got, RosterPart), plan.cohort, plan.value_bits, plan.layout.length)


def _mask(client: ClientSide, got: Received) -> MaskedVector:
    inbox, common = take(got, Inbox), take(got, Common)
    return client.secrets.mask(inbox, client.contribute(common), common.digest)


def _unmask(client: ClientSide, got: Received) -> Unmasking:
    return client.secrets.unmask(take(got, Survivors))


def _packed(count: int, bits: int) -> np.ndarray:
    return np.empty(packed_size(count, bits), np.uint8)


def _of_session(kind: type[Message]) -> Callable[[Outline], Message]:
    """A message of a session of the whole cohort without content."""

    def outline(of: Outline) -> Message:
        plan = of.plan
        return outlines(session_parameters(plan.cohort, plan.value_bits, plan.layout.length), of.round)[
            kind.kind
        ]

    return outline


KEYS_SENT = Up(
    PublicKeys,
    make=_advertise,
    check=_unchecked,
    outline=_of_session(PublicKeys),
    take=lambda server, exchange, message: _masked(server).sum.take_keys(exchange.client, message),
)
SHARES = Up(
    KeyShares,
    make=_share,
    check=_unchecked,
    outline=_of_session(KeyShares),
    take=lambda server, exchange, message: _masked(server).sum.take_shares(exchange.client, message),
)
VECTOR = Up(
    MaskedVector,
    make=_mask,
    check=_unchecked,
    outline=_of_session(MaskedVector),
    take=lambda server, exchange, message: _masked(server).sum.take_vector(exchange.client, message),
)
ANSWER = Up(
    Unmasking,
    make=_unmask,
    check=_unchecked,
    outline=_of_session(Unmasking),
    take=lambda server, exchange, message: _masked(server).sum.take_answer(exchange.client, message),
)


STEPS = (
    Step("keys", (), KEYS_SENT, ahead=True, close=lambda server: _masked(server).close_keys()),
    Step(
        "shares",
        (_told(RosterPart),),
        SHARES,
        ahead=True,
        close=lambda server: _masked(server).close_shares(server.common().digest),
    ),
    Step(
        "train",
        (COMMON, _told(Inbox)),
        VECTOR,
        close=lambda server: _masked(server).close_vectors(),
    ),
    Step("unmask", (_told(Survivors),), ANSWER, close=lambda server: _masked(server).close_answers()),
)
"""With masks."""
OPEN_STEPS = (
    Step("train", (COMMON,), CONTRIBUTION, scope="cohort", close=lambda server: _open(server).close()),
)
"""Without."""
