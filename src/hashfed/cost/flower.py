"""The bytes of a round over Flower, from messages that are built as they are sent."""

import math
from typing import Any

import torch

from hashfed.cost.case import Case
from hashfed.cost.traffic import outline_of
from hashfed.engines.budget import steps
from hashfed.engines.client_round import ClientReport
from hashfed.engines.flower import records
from hashfed.engines.flower.client_app import time_record
from hashfed.engines.flower.transport import make_request
from hashfed.engines.network.parcel import Parcel
from hashfed.engines.network.reports import step_report, train_report
from hashfed.engines.network.round_play import feedback_request, slices_place, slices_request
from hashfed.engines.network.transport import Ahead
from hashfed.federated import wire
from hashfed.federated.messages import KINDS, Message
from hashfed.federated.protocols import SLICES, in_lockstep
from hashfed.federated.slices import Wanted

SETUP = "0" * 64
"""As long as the checksum of a run."""


def exchange_bytes(case: Case) -> dict[str, dict[str, int]]:
    """Bytes ``down`` and ``up`` by step of the round.

    They are of a node that hosts one client, in the first 63 rounds (a larger number may take a byte more),
    and of arrays that all differ (Flower sends equal ones once: a fresh model has some). The declaration is
    counted as a step of its own; where it rides along with the training of the round before it is
    smaller. Slices are not fetched through Flower, nor is their manifest.
    """
    outline, name, config = outline_of(case), case.workload.client, case.config
    round, report, found = steps(config), ClientReport(name), {}
    if outline.planes:
        report.bounded = 0  # its report says so
    for step in round:
        down, up, more, said = Parcel(1), Parcel(1), dict[str, Any](), {}
        for item in step.down:
            message = _filled(item.outline(outline))
            if item.fetched:
                report.bytes[SLICES] = 0
                more |= slices_request(slices_place(config), Wanted(SETUP, wire.size(message)))
            elif "cohort" in (step.scope, item.scope):
                down.shared[message.kind] = message
            else:
                down.add(name, message)
        if in_lockstep(round):
            pass  # clients say nothing beside their messages
        elif step is round[-1]:
            said = train_report(report)
            more |= feedback_request([0]) if config.compression.error_feedback else {}
        elif not step.ahead:
            said = step_report(step, report)
        if not step.ahead and not down.messages:
            more |= {step.name: [name]}
        up.add(name, _filled(step.up.outline(outline)))
        up.reports |= {name: said} if said else {}
        content, answer = records.pack(down), records.pack(up)
        content["request"] = make_request(SETUP, 1, Ahead(step.name, 1, [name] if step.ahead else []), more)
        answer["time"] = time_record(0.0)
        found[step.name] = {"down": records.size(content), "up": records.size(answer)}
    return found


def _filled(message: Message) -> Message:
    """The same with memory; no two of its arrays are equal."""
    tensors = {
        name: value.clone() if value.device.type != "meta" else _unlike(value, position)
        for position, (name, value) in enumerate(message.tensors().items())
    }
    return KINDS[message.kind].read(tensors, message.numbers())


def _unlike(value: torch.Tensor, position: int) -> torch.Tensor:
    count = math.prod(value.shape)
    numbers = torch.arange(position, position + count) % 113
    return numbers.to(value.dtype).reshape(value.shape)
