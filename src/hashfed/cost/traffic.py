"""The bytes of a round's messages, from messages that have shapes but no content."""

from hashfed.config import Config
from hashfed.cost.keys import Hashing
from hashfed.cost.model_sizes import ModelSizes
from hashfed.cost.slices import BucketTraffic, fetched_slices
from hashfed.cost.variants import held_planes, held_rows
from hashfed.cost.workload import Workload
from hashfed.engines.budget import device_budget, sends_counts, sends_everything, steps
from hashfed.engines.device_memory import PROBED_ROUND
from hashfed.federated import wire
from hashfed.federated.protocols import SLICES, Outline
from hashfed.federated.protocols.outline import floats


def message_bytes(
    config: Config,
    sizes: ModelSizes,
    size: int,
    workload: Workload,
    hashing: Hashing,
    buckets: BucketTraffic,
) -> dict[str, int]:
    """Bytes by kind of message, in the order of the round: those of ``wire.size`` on the real messages.

    With ``selection.oversample``, or where no row's logit happens to be corrected, it is the most that can be
    sent. ``slices`` are all those fetched: exact where ``buckets`` are, and no two rows are equal.

    Args:
        config: of the run.
        sizes: of the model.
        size: n.
        workload: the client's.
        hashing: its encoder and keys.
        buckets: that it fetches, where slices are pre-generated.

    """
    outline = outline_of(config, sizes, size, workload, hashing, buckets)
    found: dict[str, int] = {}
    for step in steps(config):
        for down in step.down:
            found[down.kind.kind] = wire.size(down.outline(outline))
            if down.fetched:
                found[SLICES] = fetched_slices(buckets, *sizes.rows_held(outline.received, workload.touched))[
                    1
                ]
        found[step.up.kind.kind] = wire.size(step.up.outline(outline))
    return found


def outline_of(
    config: Config,
    sizes: ModelSizes,
    size: int,
    workload: Workload,
    hashing: Hashing,
    buckets: BucketTraffic,
) -> Outline:
    """Sizes of the messages of ``message_bytes``."""
    own, everything = len(workload.own), sends_everything(config)
    shape = config.retrieval.bucket_shape if hashing.asked else None
    received, trained = held_rows(config, size, own)
    return Outline(
        round=PROBED_ROUND,
        size=size,
        width=sizes.dimension,
        body={name: floats(*shape) for name, shape in sizes.body.items()},
        inputs=sizes.inputs,
        everything=everything,
        own=own,
        touched=workload.touched,
        budget=device_budget(config, size, own),
        received=received,
        trained=trained,
        predictions=workload.predictions,
        corrected=config.selection.correction != "none",
        counts=sends_counts(config),
        planes=held_planes(config, size, own, hashing.planes),
        encoder=hashing.encoder,
        keys=hashing.keys,
        sketch=hashing.sketch,
        buckets=buckets.filled,
        norm_ranges=1 if shape is None else shape.ranges,
        compression=config.compression,
    )
