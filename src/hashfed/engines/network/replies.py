"""What a reply must be before anything in it is looked at: an answer to what was asked, and nothing more."""

from collections.abc import Mapping, Sequence

from hashfed.engines.client_round import ClientReport
from hashfed.engines.network.exchanges import type_of
from hashfed.engines.network.parcel import Parcel
from hashfed.engines.network.post import Reply, seconds_of
from hashfed.errors import HashfedError
from hashfed.federated.checks import Limits, ModelShape
from hashfed.federated.messages import Update
from hashfed.federated.protocols import SLICES, Step, riding

MOST = 2**62
"""Of what nobody can check."""


def open_reply(reply: Reply, steps: Sequence[Step] = ()) -> Parcel:
    """What a node answered.

    Args:
        reply: of the node.
        steps: of the round; an exchange that is none of them brings reports alone.

    Raises:
        HashfedError: where it answered with a problem, or with something else than it was asked for.

    """
    if reply.content is None:
        raise HashfedError(reply.problem)
    parcel = reply.content.parcel()
    if parcel.round != reply.round:
        raise HashfedError(
            f"round = {parcel.round}: a message of another round, it was asked in {reply.round}"
        )
    asked = {*reply.clients, *reply.ahead.clients}
    allowed = _answers(reply.kind, steps)
    for name in (*parcel.messages, *parcel.problems, *parcel.reports):
        if name not in asked:
            raise HashfedError(f"client {name}: was not asked")
    for kinds in (parcel.shared, *parcel.messages.values()):
        for kind in kinds:
            if kind not in allowed or kinds is parcel.shared:
                raise HashfedError(f"a message {kind}, which was not asked for")
    return parcel


def _answers(exchange: str, steps: Sequence[Step]) -> set[str]:
    """Messages that a client may send in an exchange: also what is asked for ahead with it."""
    found = set()
    for step in steps:
        if exchange == type_of(step.name):
            also = riding(steps, step)
            found |= {one.up.kind.kind for one in (step, also) if one is not None}
    return found


def take_report(
    report: ClientReport,
    numbers: Mapping[str, float],
    update: Update,
    shape: ModelShape,
    limits: Limits,
    waited: float,
) -> None:
    """Put what a client says about its work into its report: shown, never computed with.

    Args:
        report: of the server, changed.
        numbers: of the client (``reports.train_report``); those of slices count where some are fetched.
        update: that came with them.
        shape: of the model.
        limits: of a client.
        waited: seconds from its rows to its answer.

    Raises:
        HashfedError: where a number is missing, absurd, or contradicts the update.

    """
    count = len(update.rows)
    bounds = {
        "own": (0, limits.own),
        "rows": (count, count),
        "parameters": (0, shape.parameters),
        "predictions": (update.weight, update.weight),
        "flops": (0, MOST),
        SLICES: (0, MOST),
        "bounded": (0, MOST),
    }
    optional = {SLICES, "bounded"}
    for name, (least, most) in bounds.items():
        value = numbers.get(name, 0 if name in optional else -1)
        if not least <= value <= most or value != int(value):
            raise HashfedError(f"report: {name} = {value}: must be an integer from {least} to {most}")
    strange = sorted(set(numbers) - set(bounds) - {"train_seconds"})
    if strange:
        raise HashfedError(f"report: {strange[0]} is unknown")
    report.own_rows = int(numbers["own"])
    report.rows = int(numbers["rows"])
    report.parameters = int(numbers["parameters"])
    report.predictions = int(numbers["predictions"])
    report.flops = int(numbers["flops"])
    if update.tail is not None:
        report.bounded = int(numbers.get("bounded", 0))
    report.seconds["train"] = seconds_of(numbers.get("train_seconds"), waited)
    if SLICES in report.bytes:
        report.bytes[SLICES] = int(numbers.get(SLICES, 0.0))
