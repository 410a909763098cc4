"""How many clients train as one batch: as many as a share of the memory holds."""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch

from hashfed.config import Config
from hashfed.engines.cohort.member import Member
from hashfed.engines.trial import TRIED, trial_floats
from hashfed.models import Model
from hashfed.tasks.registry import make_task

COPIES = 3
"""Of a client's parameters: before, after, and gradients."""
CPU_BYTES = 1 << 30
"""Of a batch where there is no GPU, and nothing is set."""
GPU_SHARE = 0.7
"""Of the GPU's free memory where nothing is set."""
LOGIT_SHARE = 4
"""One part of so many of the memory is for logits."""
LESS = 2
"""A client whose batches have so many times fewer predictions than another's is not trained beside it, where
its would be padded to as many."""
FAR = 4
"""Nor is any client trained beside another whose batches have so many times as many: those with most steps
come first, and whoever follows may have larger batches. With ``LESS`` here too 64 clients of chitchat would
be 9 batches instead of 6, each with launches of its own, and 23% of padding instead of 29%."""
LENGTH = 20
"""Positions of the examples on which a model's memory is tried."""


@dataclass(frozen=True)
class Memory:
    """What there is, and what a client takes of it.

    Attributes:
        bytes: for one batch of clients.
        position_floats: that a model keeps for its backward pass, for each prediction.
        body_floats: of its body.

    """

    bytes: int
    position_floats: int
    body_floats: int

    @classmethod
    def of(cls, config: Config, model: Model) -> "Memory":
        """As configured, or of what is free."""
        shapes, task = model.body_shapes(), make_task(config.data)
        positions = TRIED * LENGTH
        kept = trial_floats(model, shapes, task, positions, TRIED, LENGTH, backward=True)
        body = sum(torch.Size(shape).numel() for shape in shapes.values())
        return cls(_bytes(config), -(-kept // positions), body)

    def halved(self) -> "Memory":
        """With half as much."""
        return replace(self, bytes=self.bytes // 2)

    @property
    def most_logits(self) -> int:
        """Held at a time, of all clients together."""
        return max(1, self.bytes // (4 * LOGIT_SHARE))

    def member_bytes(self, member: Member, model: Model) -> int:
        """Of one client while it trains, but for logits."""
        here = member.here
        inputs = sum(len(ids) * model.tables[name] for name, ids in here.declared.inputs.items())
        rows = member.rows * model.dimension + inputs
        return int(4 * (COPIES * (rows + self.body_floats) + member.positions * self.position_floats))

    def shared_chunk(self, members: Sequence[Member]) -> list[Member]:
        """The first of the members, as many as share their step in this memory; at least one."""
        needed = [4 * member.positions * self.position_floats for member in members]
        room = self.bytes - 4 * self.most_logits
        count = sum(total <= room for total in itertools.accumulate(needed))
        return list(members[: max(1, count)])

    def chunks(self, members: Sequence[Member], model: Model) -> list[list[Member]]:
        """Clients that train together, alike beside each other: those with most steps first."""
        ordered = sorted(members, key=lambda one: (one.steps, one.positions), reverse=True)
        room = self.bytes - 4 * self.most_logits
        found: list[list[Member]] = []
        largest, least, most = 0, 0.0, 0.0
        for member in ordered:
            needed = self.member_bytes(member, model)
            if found:
                largest = max(largest, needed)
                least, most = min(least, member.positions), max(most, member.positions)
            fits = found and (len(found[-1]) + 1) * largest <= room
            if fits and found[-1][0].positions < LESS * member.positions and most < FAR * least:
                found[-1].append(member)
            else:
                found.append([member])
                largest, least, most = needed, member.positions, member.positions
        return found


def _bytes(config: Config) -> int:
    if config.device_memory is not None:
        return config.device_memory
    if config.device == "cuda":
        free, _ = torch.cuda.mem_get_info()
        return int(GPU_SHARE * free)
    return CPU_BYTES
