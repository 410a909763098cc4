"""Memory that ran out, as one line: Python, NumPy, torch and the kernel say it each in a way of its own."""

import errno
import re
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from hashfed.config import size_settings
from hashfed.errors import HashfedError
from hashfed.hardware import free_memory, show_bytes

_SAID = re.compile(r"can't allocate memory|cannot allocate memory|not enough memory|out of memory", re.I)
_BYTES = re.compile(r"(?:allocate|mmap) (\d+) bytes")
_SIZED = re.compile(r"allocate ([\d.]+ [KMGTPE]?i?B)\b")


class LackOfMemoryError(HashfedError):
    """Memory ran out; less work at a time, or a smaller model, may do."""


@contextmanager
def lack_of_memory() -> Iterator[None]:
    """Turn the errors of a block that mean that memory ran out into a mistake that can be mended.

    Raises:
        LackOfMemoryError: with the bytes that were asked for, where they were told, and those that are free.

    """
    try:
        yield
    except (MemoryError, RuntimeError, OSError) as error:
        if not ran_out(error):
            raise
        raise LackOfMemoryError(describe(error)) from None


def ran_out(error: BaseException) -> bool:
    """Whether an error means that memory ran out."""
    if isinstance(error, OSError):
        return error.errno == errno.ENOMEM
    return isinstance(error, MemoryError) or (
        isinstance(error, RuntimeError) and bool(_SAID.search(str(error)))
    )


def describe(error: BaseException) -> str:
    """One line: what was asked for, what there is, and what needs less."""
    text = str(error)
    asked = ""
    if (found := _BYTES.search(text)) is not None:
        asked = f"{show_bytes(int(found[1]))} were asked for, "
    elif (found := _SIZED.search(text)) is not None:
        asked = f"{found[1]} were asked for, "
    if isinstance(error, torch.OutOfMemoryError):
        return (
            f"the GPU's memory ran out ({asked.removesuffix(', ') or text.partition('. ')[0]}): lower "
            f"client.batch_size, {size_settings()}, or set device = cpu"
        )
    return (
        f"memory ran out: {asked}{free_memory()}; lower {size_settings()} or workers, "
        "set memory_map = true, or give this process more memory"
    )
