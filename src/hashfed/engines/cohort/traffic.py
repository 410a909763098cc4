"""The bytes that a client's messages would have, as they are over a network."""

from collections.abc import Hashable
from dataclasses import dataclass, field

import torch

from hashfed.engines.budget import sends_counts, sends_everything
from hashfed.engines.cohort.member import Member
from hashfed.engines.server_round import ServerRound
from hashfed.federated import wire
from hashfed.federated.protocols import Outline
from hashfed.federated.protocols.outline import floats
from hashfed.federated.stacked_client import Held

MOST_KNOWN = 1 << 12
"""Messages remembered; of clients' own rows there is no end."""


@dataclass
class Traffic:
    """Remembers what messages of these sizes take: many clients have as many rows and keys."""

    _known: dict[Hashable, dict[str, int]] = field(default_factory=dict)
    _body: dict[str, torch.Tensor] = field(default_factory=dict)
    """Without memory; the same in all rounds."""

    def of(self, there: ServerRound, member: Member, held: Held) -> dict[str, int]:
        """Bytes by kind of message, in the order of the round: ``wire.size`` of the real messages."""
        declared, keys = member.here.declared, {**member.keys.keys, **member.keys.sketch}
        sizes = (
            len(str(there.round)),
            len(declared.own),
            declared.budget,
            tuple((name, len(ids)) for name, ids in sorted(declared.inputs.items())),
            member.rows,
            member.trained(held),
            len(str(member.here.examples.weight)),
            held.log_weight is None,
            held.planes,
            tuple((name, value.dtype, value.shape) for name, value in sorted(keys.items())),
        )
        if sizes not in self._known:
            if len(self._known) == MOST_KNOWN:
                self._known.clear()
            if not self._body:
                body = there.parameters.body
                self._body = {name: floats(*value.shape) for name, value in body.items()}
            self._known[sizes] = message_bytes(there, member, held, self._body)
        return self._known[sizes]


def message_bytes(
    there: ServerRound, member: Member, held: Held, body: dict[str, torch.Tensor]
) -> dict[str, int]:
    """The same, counted anew; ``body``: the model's, without memory."""
    config, declared = there.config, member.here.declared
    size, width = there.parameters.rows.shape
    outline = Outline(
        round=there.round,
        size=size,
        width=width,
        body=body,
        inputs={name: (len(table), table.shape[1]) for name, table in there.parameters.inputs.items()},
        everything=sends_everything(config),
        own=len(declared.own),
        touched={name: len(ids) for name, ids in declared.inputs.items()},
        budget=declared.budget,
        received=member.rows,
        trained=member.trained(held),
        predictions=member.here.examples.weight,
        corrected=held.log_weight is not None,
        counts=sends_counts(config),
        planes=held.planes,
        encoder=there.encoder,
        keys=member.keys.keys,
        sketch=member.keys.sketch,
        buckets=0,
        norm_ranges=1,
        compression=config.compression,
    )
    found: dict[str, int] = {}
    for step in there.steps:
        for down in step.down:
            found[down.kind.kind] = wire.size(down.outline(outline))
        found[step.up.kind.kind] = wire.size(step.up.outline(outline))
    return found
