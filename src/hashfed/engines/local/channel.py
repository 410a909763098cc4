"""Objects from one process of this machine to another: by value, and shared memory by its handle.

Not by ``torch.multiprocessing``, whose tensors go through ``/dev/shm`` and a socket in ``TMPDIR``, with two
handles for each as long as it lives.
"""

import io
import pickle
from collections.abc import Sequence
from multiprocessing.connection import Connection, wait
from multiprocessing.reduction import recv_handle, send_handle
from typing import Any

import torch

from hashfed.engines.shared import SharedBlock


class Parcel:
    """An object ready to be sent, as often as wanted.

    Args:
        content: the object.
        shared: blocks of memory; tensors that lie in one of them are not copied.

    """

    def __init__(self, content: object, shared: Sequence[SharedBlock] = ()) -> None:
        file = io.BytesIO()
        pickler = _Pickler(file, shared)
        pickler.dump(content)
        self.data = file.getvalue()
        self.blocks = pickler.sent


class Channel:
    """One end of a socket between two processes of ours; nobody else can write to it."""

    def __init__(self, handle: int) -> None:
        self._connection: Connection[Any, Any] = Connection(handle)

    def fileno(self) -> int:
        """For ``ready``."""
        return self._connection.fileno()

    def close(self) -> None:
        """Close this end: the other one is told by an ``EOFError``."""
        self._connection.close()

    def tell(self, text: str) -> None:
        """Send a text alone.

        Raises:
            OSError: where the other process has ended.

        """
        self._connection.send_bytes(text.encode(errors="replace"))

    def hear(self) -> str:
        """The next text that was told.

        Raises:
            EOFError, OSError: where the other process has ended.

        """
        return self._connection.recv_bytes().decode()

    def send(self, content: object) -> None:
        """Send an object.

        Raises:
            OSError: where the other process has ended.

        """
        self.post(Parcel(content))

    def post(self, parcel: Parcel) -> None:
        """Send what was prepared.

        Raises:
            OSError: where the other process has ended.

        """
        self._connection.send_bytes(len(parcel.blocks).to_bytes(4, "little"))
        self._connection.send_bytes(parcel.data)
        for block in parcel.blocks:
            self._connection.send_bytes(block.size.to_bytes(8, "little"))
            send_handle(self._connection, block.handle, None)

    def receive(self) -> Any:
        """The next object.

        Raises:
            EOFError, OSError: where the other process has ended.

        """
        count = int.from_bytes(self._connection.recv_bytes(), "little")
        data = self._connection.recv_bytes()
        blocks = []
        for _ in range(count):
            size = int.from_bytes(self._connection.recv_bytes(), "little")
            block = SharedBlock(recv_handle(self._connection), size)
            block.close_handle()
            blocks.append(block)
        return _Unpickler(io.BytesIO(data), blocks).load()


def ready(channels: Sequence[Channel], seconds: float) -> list[Channel]:
    """Those that have something to receive, or whose other end is closed; waits at most so long for one."""
    waiting: list[Any] = list(channels)
    found: list[Any] = wait(waiting, seconds)
    return [channel for channel in channels if channel in found]


class _Pickler(pickle.Pickler):
    def __init__(self, file: io.BytesIO, shared: Sequence[SharedBlock]) -> None:
        super().__init__(file, protocol=5)
        self._shared = shared
        self.sent: list[SharedBlock] = []

    def persistent_id(self, item: object) -> tuple[Any, ...] | None:
        """What lies in shared memory, by its place there."""
        if isinstance(item, SharedBlock):
            return (self._place(item),)
        if isinstance(item, torch.Tensor):
            for block in self._shared:
                start = block.start_of(item)
                if start is not None:
                    return self._place(block), start, tuple(item.shape), item.dtype
        return None

    def reducer_override(self, item: object) -> Any:
        """Other tensors as arrays, which need no detour over a file."""
        if isinstance(item, torch.Tensor) and item.device.type == "cpu" and item.dtype in _AS_ARRAYS:
            return torch.from_numpy, (item.detach().contiguous().numpy(),)
        return NotImplemented

    def _place(self, block: SharedBlock) -> int:
        if block not in self.sent:
            self.sent.append(block)
        return self.sent.index(block)


class _Unpickler(pickle.Unpickler):
    def __init__(self, file: io.BytesIO, blocks: Sequence[SharedBlock]) -> None:
        super().__init__(file)
        self._blocks = blocks

    def persistent_load(self, place: tuple[Any, ...]) -> object:
        block = self._blocks[place[0]]
        return block if len(place) == 1 else block.tensor(*place[1:])


_AS_ARRAYS = (torch.float32, torch.float64, torch.float16, torch.int64, torch.int32, torch.uint8, torch.bool)
