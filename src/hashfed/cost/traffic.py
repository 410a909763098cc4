"""The bytes of a round's messages, from messages that have shapes but no content."""

from hashfed.cost.case import Case
from hashfed.cost.slices import fetched_slices
from hashfed.engines.budget import device_budget, sends_counts, steps
from hashfed.engines.device_memory import PROBED_ROUND
from hashfed.federated import wire
from hashfed.federated.protocols import SLICES, Outline
from hashfed.federated.protocols.outline import floats


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
        corrected=_corrected(case),
        counts=sends_counts(config),
        planes=case.planes,
        encoder=hashing.encoder,
        keys=hashing.keys,
        sketch=hashing.sketch,
        buckets=case.buckets.filled,
        norm_ranges=1 if shape is None else shape.ranges,
        compression=config.compression,
        common=case.plan,
    )


def _corrected(case: Case) -> bool:
    """Whether logits are corrected, or may be."""
    if case.common is not None:
        return bool(case.common.log_weight.any())
    return case.config.selection.correction != "none"
