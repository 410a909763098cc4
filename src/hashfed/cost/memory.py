"""The peak memory of a client's process above its libraries, from sizes: what is held when.

A client goes through six phases. Each holds what is named here; the largest sum is the peak. All arrays are
float32 (4 bytes) but where noted; m rows are trained on, r are received (r > m only where the client drops
some), o are its own, B is the number of parameters of the body.

    receive  the first message as bytes, and decoded
    hash     the first message; a forward pass without gradients; the queries twice (in parts, then joined)
    rows     the first message; the second as bytes, and decoded
    join     both messages; own and new rows joined, then in order of ids
    drop     (where r > m) rows and body; a forward pass; logits of 64 examples on r rows, and their softmax
    train    rows and body as received, and the copy that moves; the body's gradient; exponentials of the
             logits of one step (p × m); what the forward pass keeps, and a few vectors per position;
             with clipping, or where the exponentials are made in parts, the rows' gradient; with planes,
             what moves the tail, of this step and of all, and each query's products with them
    send     rows and body as received; their change; the update as bytes, twice while it is written

Where the client selects by itself, the first message is the broadcast or the manifest, and ``rows`` holds it
with what the client takes out of it: own and selected rows, and with slices also their bytes and the
collisions of each row (8 bytes). The index that a client builds of a broadcast is not predicted.
With compression, both messages in ``hash`` and ``join`` are also held in float32, and the compressed update
in ``send``. Planes come with the rows, and are held with them from then on. A residual for error feedback, as
large as body and rows trained on, is not counted: it may wait on the device's disk.
"""

from hashfed.config import Config
from hashfed.cost.model_sizes import ModelSizes
from hashfed.cost.variants import held_rows
from hashfed.cost.workload import Workload
from hashfed.engines.budget import sends_everything
from hashfed.models.output_layer import MAX_LOGITS

LIBRARIES = 3_000_000
"""Bytes of code and of work space (packed matrices) that torch and its matrix library touch in a client's
round and not in the toy round of the baseline: resident beside the arrays, on Linux with MKL 2 to 4 MB."""
VECTORS = 6
"""Of length d per position in a step, beside those that the model keeps: the queries' gradient, the targets'
rows and what the output layer makes of both."""
SERIALIZED = 2
"""Copies of a message while safetensors writes it."""
FLOAT, ID, COLLISIONS = 4, 8, 8

Phases = dict[str, dict[str, int]]
"""Bytes by phase and by what they are for."""


def predict_memory(
    config: Config,
    sizes: ModelSizes,
    size: int,
    workload: Workload,
    messages: dict[str, int],
    hashes: bool = True,
    planes: int = 0,
) -> Phases:
    """Bytes by phase and term; the phases that the client does not go through are left out.

    Args:
        config: of the run.
        sizes: of the model.
        size: n.
        workload: the client's.
        messages: bytes by kind (``traffic.message_bytes``).
        hashes: whether a client hashes its queries, where it is sent no rows on demand.
        planes: K, of the tail.

    """
    everything = sends_everything(config)
    width = sizes.dimension
    # Rows of input tables are held, copied and sent as the body is.
    body = FLOAT * (sizes.body_parameters + sizes.input_parameters(workload.touched))
    received, trained = held_rows(config, size, len(workload.own))
    row = FLOAT * width
    update = messages["update"]
    narrow_rows, narrow_update = config.compression.rows != "none", config.compression.updates != "none"
    # Beside each row its id and its correction.
    held = row if everything else row + ID + FLOAT
    # Slopes of the planes and of their errors; an offset and an error of each.
    tail, of_tail = planes * (2 * row + 2 * FLOAT), planes * row

    def forward(positions: int, examples: int, backward: bool) -> int:
        return FLOAT * sizes.activation_floats(positions, examples, workload.length, backward)

    first = next(kind for kind in ("welcome", "broadcast", "manifest") if kind in messages)
    at_hand = {first: messages[first]}
    phases: Phases = {"receive": {f"{first} as bytes": messages[first]} | at_hand}
    own = 0 if first == "welcome" or everything else row * len(workload.own)
    if "keys" in messages or (first != "welcome" and hashes):
        phases["hash"] = at_hand | {
            "welcome in float32": body + row * len(workload.own) if narrow_rows else 0,
            "forward pass": forward(workload.hash_positions, workload.hash_examples, False),
            "queries": 2 * row * workload.predictions,
            "libraries": LIBRARIES,
        }
        if own:
            phases["hash"]["own rows"] = own
    if first == "welcome":
        rows = messages["rows"]
        phases["rows"] = at_hand | {"rows as bytes": rows, "rows": rows}
        joining = at_hand | {
            "rows": rows,
            "both in float32": body + row * received + tail if narrow_rows else 0,
        }
    else:
        joining = {"body": body, "rows": row * received}
        phases["rows"] = at_hand | {"own and selected rows": row * received}
        if first == "manifest":
            phases["rows"] |= {"slices": messages["slices"], "collisions": COLLISIONS * size}
    if not everything or narrow_rows:
        again = 0 if everything else row * received
        phases["join"] = joining | {"joined": again, "in order": again}
    if received > trained:
        logits = FLOAT * workload.hash_positions * received
        phases["drop"] = {
            "model": body + held * received + tail,
            "forward pass": forward(workload.hash_positions, workload.hash_examples, False),
            "logits": logits,
            "softmax": logits,
            "libraries": LIBRARIES,
        }
    model = body + held * trained + tail
    exponentials = step_logits(workload.step_positions, trained)
    in_parts = exponentials < workload.step_positions * trained
    phases["train"] = {
        "model": model,
        "copy": body + row * trained,
        "gradient of the body": body,
        "exponentials": FLOAT * exponentials,
        "gradient of the rows": row * trained if in_parts or config.client.clip is not None else 0,
        "forward pass": forward(workload.step_positions, workload.step_examples, True),
        "gradient of the queries": VECTORS * row * workload.step_positions,
        "planes": 2 * of_tail + FLOAT * planes * workload.step_positions,
        "libraries": LIBRARIES,
    }
    phases["send"] = {
        "model": model,
        "change": body + row * trained + of_tail,
        "compressed": update if narrow_update else 0,
        "update as bytes": SERIALIZED * update,
        "libraries": LIBRARIES,
    }
    return phases


def step_logits(positions: int, rows: int) -> int:
    """Logits held at a time by a step: all, or those of as many positions as stay below ``MAX_LOGITS``."""
    return min(positions, max(1, MAX_LOGITS // rows)) * rows


def peak_phase(phases: Phases) -> str:
    """The phase with the largest sum."""
    return max(phases, key=lambda name: sum(phases[name].values()))
