"""Messages as bytes (safetensors: a JSON header and raw arrays, nothing executable) and their sizes."""

import json

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
    """Bytes of ``encode(message)``, without copying the arrays.

    A safetensors file is 8 bytes, a JSON header padded to a multiple of 8, and the arrays, ordered by
    falling rank of their type and then by name.
    """
    rank = {dtype: position for position, dtype in enumerate(DTYPES)}
    tensors = sorted(message.tensors().items(), key=lambda item: (-rank[item[1].dtype], item[0]))
    header: dict[str, object] = {"__metadata__": {"kind": message.kind} | message.numbers()}
    end = 0
    for name, value in tensors:
        start, end = end, end + value.numel() * value.element_size()
        header[name] = {
            "dtype": DTYPES[value.dtype],
            "shape": list(value.shape),
            "data_offsets": [start, end],
        }
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    return 8 + -(-len(text) // 8) * 8 + end
