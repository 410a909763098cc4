"""The order of a round's exchanges, by how rows reach clients: a file for each, and here they are all."""

from collections.abc import Mapping
from typing import TypeVar

from hashfed.federated.protocols import broadcast, on_demand, pre_generated, secure
from hashfed.federated.protocols.outline import Outline
from hashfed.federated.protocols.step import (
    ClientSide,
    Down,
    Exchange,
    Received,
    ServerSide,
    Step,
    Terms,
    Up,
    Way,
    in_lockstep,
    needed_later,
    played,
    riding,
    take,
)

__all__ = [
    "SLICES",
    "WITHOUT_MASKS",
    "ClientSide",
    "Down",
    "Exchange",
    "Outline",
    "Received",
    "ServerSide",
    "Step",
    "Terms",
    "Up",
    "all_steps",
    "in_lockstep",
    "moved",
    "needed_later",
    "riding",
    "steps_of",
    "take",
    "ways",
]

Number = TypeVar("Number", int, float)

PROTOCOLS: dict[str, tuple[Step, ...]] = {
    "on-demand": on_demand.STEPS,
    "broadcast": broadcast.STEPS,
    "pre-generated": pre_generated.STEPS,
    "secure": secure.STEPS,
    "secure, without masks": secure.OPEN_STEPS,
}
"""All steps by ``selection.delivery``, in order. The last is the training, whose answer is the update, but
where a sum is left instead (``in_lockstep``)."""
WITHOUT_MASKS = "secure, without masks"
SLICES = "slices"
"""In tables of bytes: what clients fetch besides messages that they fetch."""


def steps_of(delivery: str, terms: Terms) -> tuple[Step, ...]:
    """The steps of a round, with ``delivery`` one of ``PROTOCOLS``."""
    return played(PROTOCOLS[delivery], terms)


def all_steps() -> list[Step]:
    """Those of all protocols."""
    return [step for steps in PROTOCOLS.values() for step in steps]


def ways() -> dict[str, Way]:
    """All that travels, by kind, in the order in which a round sends it, and which way it goes."""
    found: dict[str, Way] = {}
    for step in all_steps():
        for down in step.down:
            found[down.kind.kind] = "down"
            if down.fetched:
                found[SLICES] = "down"
        found.pop(step.up.kind.kind, None)  # what several protocols end with comes last
        found[step.up.kind.kind] = "up"
    return found


def moved(by_kind: Mapping[str, Number], way: Way) -> Number:
    """The sum of numbers by kind of message over those that go this way."""
    return sum((by_kind[kind] for kind, its in ways().items() if its == way and kind in by_kind), start=0)
