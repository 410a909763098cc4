"""What a reply must be before anything in it is looked at: an answer to what was asked, and nothing more."""

import math
from collections.abc import Mapping

from hashfed.engines.client_round import ClientReport
from hashfed.engines.flower import records
from hashfed.engines.flower.client_app import DECLARE, EVALUATE, HASH, TRAIN
from hashfed.engines.flower.post import Reply, seconds_of
from hashfed.engines.flower.records import Parcel
from hashfed.errors import HashfedError
from hashfed.federated.checks import Limits, ModelShape
from hashfed.federated.messages import ClientKeys, Declare, Manifest, Update

KINDS = {
    DECLARE: {Declare.kind},
    HASH: {ClientKeys.kind},
    TRAIN: {Update.kind, Declare.kind},
    EVALUATE: set[str](),
}
"""Messages that a client may send in each exchange."""
MOST = 2**62
"""Of what nobody can check."""


def open_reply(reply: Reply) -> Parcel:
    """What a node answered.

    Raises:
        HashfedError: where it answered with a problem, or with something else than it was asked for.

    """
    if reply.content is None:
        raise HashfedError(reply.problem)
    parcel = records.unpack(reply.content)
    if parcel.round != reply.round:
        raise HashfedError(
            f"round = {parcel.round}: a message of another round, it was asked in {reply.round}"
        )
    asked = {*reply.clients, *reply.asked[1]}
    for name in (*parcel.messages, *parcel.problems, *parcel.reports):
        if name not in asked:
            raise HashfedError(f"client {name}: was not asked")
    for kinds in (parcel.shared, *parcel.messages.values()):
        for kind in kinds:
            if kind not in KINDS[reply.kind] or kinds is parcel.shared:
                raise HashfedError(f"a message {kind}, which was not asked for")
    return parcel


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
        numbers: of the client (``client_app.train_report``).
        update: that came with them.
        shape: of the model.
        limits: of a client.
        waited: seconds from its rows to its answer.

    Raises:
        HashfedError: where a number is missing, absurd, or contradicts the update.

    """
    count = len(update.rows)
    everything = shape.size * shape.dimension + sum(math.prod(size) for size in shape.body.values())
    bounds = {
        "own": (0, limits.own),
        "rows": (count, count),
        "parameters": (0, everything),
        "predictions": (update.weight, update.weight),
        "flops": (0, MOST),
        "slices": (0, MOST),
        "bounded": (0, MOST),
    }
    optional = {"slices", "bounded"}
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
    if Manifest.kind in report.bytes:
        slices, sent = numbers.get("slices", 0.0), report.bytes.pop(Update.kind)
        report.bytes |= {"slices": int(slices), Update.kind: sent}
