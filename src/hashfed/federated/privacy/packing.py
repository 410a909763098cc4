"""Integers of a given number of bits as bytes, without gaps.

Number j stands in bits j·b to (j + 1)·b − 1 of the bytes read as one little-endian number, so that 32 numbers
are b words of 32 bits: all such groups are packed at once, word by word.
"""

import numpy as np

from hashfed.errors import HashfedError

WORD = 32
"""Bits of a word, and the most of a number."""
LEAST = 8
"""Bits of a number, at least."""
PART = 1 << 11
"""Groups packed at a time, so that they stay in the processor's cache."""


def packed_size(count: int, bits: int) -> int:
    """Bytes of ``count`` numbers."""
    return -(-count * bits // 8)


def pack(numbers: np.ndarray, bits: int) -> np.ndarray:
    """Numbers (m,) uint32, each below 2^bits, as (packed_size(m, bits),) uint8.

    Args:
        numbers: what they have above ``bits`` bits must be zero.
        bits: from 8 to 32.

    """
    _check_bits(bits)
    groups = -(-len(numbers) // WORD)
    words = np.empty((groups, bits), np.uint32)
    full = len(numbers) // WORD
    whole = numbers[: full * WORD].reshape(full, WORD)
    for start in range(0, full, PART):
        _pack_groups(whole[start : start + PART], bits, words[start : min(start + PART, full)])
    if groups > full:
        rest = np.zeros((1, WORD), np.uint32)
        rest[0, : len(numbers) - full * WORD] = numbers[full * WORD :]
        _pack_groups(rest, bits, words[full:])
    data = words.astype("<u4", copy=False).view(np.uint8).reshape(-1)
    return data[: packed_size(len(numbers), bits)]


def unpack(data: np.ndarray, count: int, bits: int) -> np.ndarray:
    """What ``pack`` made bytes of: (count,) uint32, each below 2^bits.

    Raises:
        HashfedError: where there are more or fewer bytes, or bits beyond the last number.

    """
    _check_bits(bits)
    size = packed_size(count, bits)
    if data.dtype != np.uint8 or data.shape != (size,):
        raise HashfedError(
            f"{count} numbers of {bits} bits = {data.dtype} {data.shape}: must be uint8 {(size,)}"
        )
    spare = size * 8 - count * bits
    if spare and int(data[-1]) >> (8 - spare):
        raise HashfedError(f"{count} numbers of {bits} bits: the last {spare} bits must be zero")
    groups = -(-count // WORD)
    padded = np.zeros(groups * bits * 4, np.uint8)
    padded[:size] = data
    words = padded.view("<u4").astype(np.uint32, copy=False).reshape(groups, bits)
    numbers = np.empty((groups, WORD), np.uint32)
    for start in range(0, groups, PART):
        _unpack_groups(words[start : start + PART], bits, numbers[start : start + PART])
    return numbers.reshape(-1)[:count]


def _pack_groups(numbers: np.ndarray, bits: int, words: np.ndarray) -> None:
    """Groups (g, 32) as words (g, bits)."""
    columns = np.ascontiguousarray(numbers.T)
    made = np.zeros((bits, len(numbers)), np.uint32)
    for place, column in enumerate(columns):
        word, shift = divmod(place * bits, WORD)
        made[word] |= column << np.uint32(shift)
        if shift + bits > WORD:
            made[word + 1] |= column >> np.uint32(WORD - shift)
    words[:] = made.T


def _unpack_groups(words: np.ndarray, bits: int, numbers: np.ndarray) -> None:
    """Words (g, bits) as groups (g, 32)."""
    columns = np.ascontiguousarray(words.T)
    made = np.empty((WORD, len(words)), np.uint32)
    below = np.uint32((1 << bits) - 1)
    for place in range(WORD):
        word, shift = divmod(place * bits, WORD)
        found = columns[word] >> np.uint32(shift)
        if shift + bits > WORD:
            found |= columns[word + 1] << np.uint32(WORD - shift)
        np.bitwise_and(found, below, out=made[place])
    numbers[:] = made.T


def _check_bits(bits: int) -> None:
    if not LEAST <= bits <= WORD:
        raise HashfedError(f"numbers of {bits} bits: must be from {LEAST} to {WORD}")
