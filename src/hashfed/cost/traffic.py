"""The bytes of a round's messages, from messages that have shapes but no content."""

from hashfed.cost.case import Case
from hashfed.cost.slices import fetched_slices
from hashfed.engines.budget import device_budget, sends_counts, steps
from hashfed.engines.common_plan import common_plan
from hashfed.engines.device_memory import PROBED_ROUND
from hashfed.federated import wire
from hashfed.federated.model_shape import ModelShape
from hashfed.federated.protocols import SLICES, Outline, in_lockstep
from hashfed.federated.protocols.outline import floats
from hashfed.models.protocol import OUTPUT


def message_bytes(case: Case) -> dict[str, int]:
    """Bytes by kind of message, in the order of the round: those of ``wire.size`` on the real messages.

    With ``selection.oversample``, or where no row's logit happens to be corrected, it is the most that can be
    sent. ``slices`` are all those fetched: exact where its buckets are, and no two rows are equal.
    """
    outline = outline_of(case)
    found: dict[str, int] = {}
    for step in steps(case.config):
        for down in step.down:
            found[down.kind.kind] = wire.size(down.outline(outline))
            if down.fetched:
                found[SLICES] = fetched_slices(case.buckets, *case.rows_held)[1]
        found[step.up.kind.kind] = wire.size(step.up.outline(outline))
    return found


def outline_of(case: Case) -> Outline:
    """Sizes of the messages of ``message_bytes``."""
    config, hashing = case.config, case.hashing
    shape = config.retrieval.bucket_shape if hashing.asked else None
    return Outline(
        round=PROBED_ROUND,
        size=case.size,
        width=case.sizes.dimension,
        body={name: floats(*shape) for name, shape in case.sizes.body.items()},
        inputs=case.sizes.inputs,
        everything=case.everything,
        own=case.own,
        touched=case.workload.touched,
        budget=device_budget(config, case.size, case.own),
        received=case.received,
        trained=case.trained,
        predictions=case.workload.predictions,
        corrected=config.selection.correction != "none",
        counts=sends_counts(config),
        planes=case.planes,
        encoder=hashing.encoder,
        keys=hashing.keys,
        sketch=hashing.sketch,
        buckets=case.buckets.filled,
        norm_ranges=1 if shape is None else shape.ranges,
        compression=config.compression,
        common=common_plan(config, ModelShape(_tables(case), dict(case.sizes.body)))
        if in_lockstep(steps(config))
        else None,
    )


def _tables(case: Case) -> dict[str, tuple[int, int]]:
    return {OUTPUT: (case.size, case.sizes.dimension), **case.sizes.inputs}
