"""Memory that several processes of this machine share: a file without a name, mapped by each.

The file is the kernel's own (``memfd``) where there are such files, and no part of ``/dev/shm``, which
containers keep small: only the memory of the machine, or of its container, limits it.
"""

import os
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch

from hashfed.config import size_settings
from hashfed.errors import HashfedError
from hashfed.hardware import exceeds_memory, free_memory, show_bytes

ALIGNED = 4096
"""Bytes at a multiple of which each table begins."""


class SharedBlock:
    """A piece of such memory.

    Attributes:
        size: bytes, at least 1.
        bytes: (size,) uint8, the memory itself; what one process writes, all see.

    """

    def __init__(self, handle: int, size: int) -> None:
        """Map a file that was made with ``create``; its ``handle`` is taken over.

        Raises:
            RuntimeError: of torch, where the process may not have so much memory.

        """
        self._handle: int | None = handle
        self.size = size
        # Not the module mmap, which keeps a second handle as long as its map.
        folder = "/proc/self/fd" if Path("/proc/self/fd").exists() else "/dev/fd"
        self.bytes = torch.from_file(f"{folder}/{handle}", shared=True, size=size, dtype=torch.uint8)

    @classmethod
    def create(cls, size: int) -> "SharedBlock":
        """New memory, all zeros, that is there: it is not found missing when it is written to.

        Raises:
            HashfedError: where there is not so much.

        """
        size = max(1, size)
        # Asked for more than there is, the kernel gives what there is, and then ends processes.
        if exceeds_memory(size):
            raise _too_large(size, "")
        handle = _nameless_file()
        try:
            if hasattr(os, "posix_fallocate"):
                os.posix_fallocate(handle, 0, size)
            else:
                os.ftruncate(handle, size)
            return cls(handle, size)
        except (OSError, RuntimeError) as error:
            os.close(handle)
            raise _too_large(size, f"{getattr(error, 'strerror', None) or error}; ") from None

    @property
    def handle(self) -> int:
        """The file, for a process that is to map it.

        Raises:
            ValueError: after ``close_handle``.

        """
        if self._handle is None:
            raise ValueError("the handle is closed")
        return self._handle

    def close_handle(self) -> None:
        """Let go of the file; the memory lasts as long as somebody maps it."""
        if self._handle is not None:
            os.close(self._handle)
            self._handle = None

    def tensor(self, start: int, shape: Sequence[int], dtype: torch.dtype) -> torch.Tensor:
        """The part that begins at byte ``start``."""
        size = torch.Size(shape).numel() * dtype.itemsize
        return self.bytes[start : start + size].view(dtype).view(tuple(shape))

    def start_of(self, tensor: torch.Tensor) -> int | None:
        """The byte at which ``tensor`` begins, None where it does not lie here as a whole."""
        start = tensor.data_ptr() - self.bytes.data_ptr()
        inside = tensor.device.type == "cpu" and tensor.is_contiguous() and tensor.numel() > 0
        return start if inside and 0 <= start <= self.size - tensor.nbytes else None


def share(tensors: Mapping[str, torch.Tensor]) -> SharedBlock:
    """Move tensors into one shared block, in place.

    Raises:
        HashfedError: where there is not so much memory.

    """
    starts, end = {}, 0
    for name, tensor in tensors.items():
        starts[name] = end
        end += -(-tensor.nbytes // ALIGNED) * ALIGNED
    block = SharedBlock.create(end)
    for name, tensor in tensors.items():
        there = block.tensor(starts[name], tensor.shape, tensor.dtype)
        there.copy_(tensor)
        tensor.set_(there.untyped_storage(), there.storage_offset(), there.shape, there.stride())
    return block


def _nameless_file() -> int:
    try:
        if hasattr(os, "memfd_create"):
            return os.memfd_create("hashfed")
        with tempfile.TemporaryFile() as file:
            return os.dup(file.fileno())
    except OSError as error:
        raise HashfedError(f"memory that processes share cannot be had ({error.strerror or error})") from None


def _too_large(size: int, reason: str) -> HashfedError:
    return HashfedError(
        f"memory: {show_bytes(size)} that processes share cannot be had ({reason}{free_memory()}): set "
        f"workers = 1 or memory_map = true, lower {size_settings()}, or give it more memory"
    )
