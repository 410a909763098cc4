"""Peak memory of a client that adds its part to a cohort's sum, where the server learns sums alone.

It is predicted as in ``cost.memory``. Of the round's steps the training counts: the others hold keys and
shares, some kilobytes. c are the bytes of the message that all clients get, with all rows; L is the length of
a vector, in which each row of the table has a place, or each that all clients hold (``secure.rows``).

    receive  the message as bytes, and decoded (2c)
    train    the message (c), and all that training holds but the body, which is the message's
    lay out  the message, the rows held, and what they and the body have changed; the same at their places in
             a vector (4L); the queries and a forward pass, with planes
    round    the message and the rows held; all numbers at their places, and as integers (8L); what is rounded
             at a time, in float64
    mask     the integers as they are and under masks (8L; without masks 12L), and packed
    send     the packed integers, and the message of them as bytes, twice while it is written

``round`` is the peak where all rows are summed and some held, else ``train``. A device that takes its rows
out of the message while it arrives, lays out and rounds one part of the vector after the other and masks that
in place would do without c, and with 4L.

Against the measured peak (``engines.device_memory``) this is within 1%: 80,000 and 10,000 rows of 96 numbers,
10% or all of them held by all, all of them summed or those alone, with planes and without, clipped or not,
masked or not (Linux, torch 2.13; 34 to 220 MB). Of 6 to 8 MB, with 3,500 rows of 32, it is 4 to 14% above.
"""

from hashfed.cost.case import Case
from hashfed.federated.messages import Common
from hashfed.federated.privacy.packing import packed_size
from hashfed.federated.privacy.parameters import sum_bits
from hashfed.federated.privacy.quantise import PART

FLOAT, DOUBLE = 4, 8
ROUNDED = 3
"""Arrays of float64 while numbers are rounded: themselves, their magnitudes or random ones, a comparison."""
PLANES_LIBRARIES = 2_000_000
"""Bytes of code and work space of float64 products, with which a client makes planes of its own."""
SERIALIZED = 2
"""Copies of a message while safetensors writes it."""


def sum_phases(
    case: Case, messages: dict[str, int], training: dict[str, int], passing: int, libraries: int
) -> dict[str, dict[str, int]]:
    """Bytes by phase and term.

    Args:
        case: with a plan.
        messages: bytes by kind (``traffic.message_bytes``).
        training: what training holds; body and rows as ``model``, what is moved of them as ``copy``.
        passing: bytes of a forward pass without gradients.
        libraries: bytes that libraries take besides.

    """
    plan, sizes = case.plan, case.sizes
    if plan is None:
        raise ValueError("a client that adds nothing")
    message = {Common.kind: messages[Common.kind]}
    held = {**message, "model": training["model"] - FLOAT * sizes.body_parameters}
    length = FLOAT * plan.layout.length
    queries = FLOAT * sizes.dimension * case.workload.predictions
    packed = packed_size(plan.layout.length, sum_bits(plan.value_bits, plan.cohort))
    libraries += PLANES_LIBRARIES if plan.planes else 0
    libraried = {"libraries": libraries}
    masked = {"integers": length, "under masks": length if case.config.secure.masks else 2 * length}
    return {
        "receive": {f"{Common.kind} as bytes": messages[Common.kind], **message},
        "train": {**training, **held, **libraried},
        "lay out": {
            **held,
            "change": training["copy"],
            "at their places": length,
            "queries": 2 * queries + passing if plan.planes else 0,
            **libraried,
        },
        "round": {
            **held,
            "at their places": length,
            "integers": length,
            "rounding": ROUNDED * DOUBLE * min(PART, plan.layout.length),
            **libraried,
        },
        "mask": {**masked, "packed": packed, **libraried},
        "send": {"packed": packed, "as bytes": SERIALIZED * packed, **libraried},
    }
