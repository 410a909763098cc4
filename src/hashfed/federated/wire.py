"""Messages as bytes (safetensors: a JSON header and raw arrays, nothing executable) and their sizes."""

import json
import math
from functools import lru_cache

import torch
from safetensors.torch import load, save

from hashfed.errors import HashfedError
from hashfed.federated.messages import KINDS, Message

DTYPES = {
    torch.uint8: "U8",
    torch.int8: "I8",
    torch.int16: "I16",
    torch.float16: "F16",
    torch.bfloat16: "BF16",
    torch.int32: "I32",
    torch.float32: "F32",
    torch.float64: "F64",
    torch.int64: "I64",
}
"""What messages are made of, in the order in which safetensors ranks them."""
RANKS = {dtype: rank for rank, dtype in enumerate(DTYPES)}


def encode(message: Message) -> bytes:
    """The message as one safetensors file."""
    return save(message.tensors(), metadata={"kind": message.kind} | message.numbers())


def decode(data: bytes) -> Message:
    """What ``encode`` wrote.

    Raises:
        HashfedError: where the bytes are no message of hashfed.

    """
    try:
        tensors = load(data)
        length = int.from_bytes(data[:8], "little")
        numbers = json.loads(data[8 : 8 + length])["__metadata__"]
        return KINDS[numbers["kind"]].read(tensors, numbers)
    except Exception as error:
        # Nobody can list what libraries raise for bytes that somebody made up.
        raise HashfedError(
            f"message of {len(data)} bytes: not a hashfed message ({type(error).__name__}: {error})"
        ) from None


def size(message: Message) -> int:
    """Bytes of ``encode(message)``, without copying the arrays or writing the header.

    A safetensors file is 8 bytes, a JSON header padded to a multiple of 8, and the arrays, ordered by
    falling rank of their type and then by name.
    """
    text = len(_json({"__metadata__": {"kind": message.kind} | message.numbers()}))
    end = 0
    for _, _, entry, count in sorted(
        _entry(name, value.dtype, value.shape) for name, value in message.tensors().items()
    ):
        start, end = end, end + count
        text += entry + len(str(start)) + len(str(end))
    return 8 + -(-text // 8) * 8 + end


@lru_cache(maxsize=1 << 12)
def _entry(name: str, dtype: torch.dtype, shape: torch.Size) -> tuple[int, str, int, int]:
    """Of an array: what it is sorted by, bytes of its entry in the header without offsets, and its own."""
    entry = _json({name: {"dtype": DTYPES[dtype], "shape": list(shape), "data_offsets": [0, 0]}})
    # A comma instead of two braces, and no offsets.
    return -RANKS[dtype], name, len(entry) - 3, math.prod(shape) * dtype.itemsize


def _json(value: object) -> bytes:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode()
