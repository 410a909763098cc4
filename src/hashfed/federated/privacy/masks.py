"""Masks: vectors of integers, each of a seed of 32 bytes, without which nobody can tell them from chance."""

import numpy as np

from hashfed.federated.privacy.primitives import keystream

CHUNK = 1 << 16
"""Numbers made at a time: their stream stays in the processor's cache."""


def add_mask(numbers: np.ndarray, seed: bytes) -> None:
    """Add a seed's mask to numbers (m,) uint32 in place, modulo 2^32.

    Number j of the mask is the j-th little-endian word of the seed's AES-CTR stream. As 2^b divides 2^32 for
    each b ≤ 32, whoever works modulo 2^b takes the last b bits at the very end.
    """
    _each_chunk(numbers, seed, np.add)


def subtract_mask(numbers: np.ndarray, seed: bytes) -> None:
    """The opposite of ``add_mask``."""
    _each_chunk(numbers, seed, np.subtract)


def _each_chunk(numbers: np.ndarray, seed: bytes, change: np.ufunc) -> None:
    stream = keystream(seed)
    size = min(CHUNK, len(numbers)) * 4
    zeros, made = bytes(size), bytearray(size + 15)  # room for a block, as update_into asks for
    for start in range(0, len(numbers), CHUNK):
        part = numbers[start : start + CHUNK]
        stream.update_into(memoryview(zeros)[: len(part) * 4], made)
        change(part, np.frombuffer(made, "<u4", len(part)), out=part)


def lowest_bits(numbers: np.ndarray, bits: int) -> None:
    """Take numbers (m,) uint32 modulo 2^bits, in place."""
    np.bitwise_and(numbers, np.uint32((1 << bits) - 1), out=numbers)
