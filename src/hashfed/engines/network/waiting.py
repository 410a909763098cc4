"""Updates that have come before it is their turn: in memory up to a limit, beyond it in a file."""

import tempfile
from pathlib import Path
from typing import IO, cast

from hashfed.errors import HashfedError
from hashfed.federated import wire
from hashfed.federated.messages import Update

MOST_BYTES = 1 << 28
"""Of the updates that wait in memory (256 MiB); a single one may be larger."""


class WaitingUpdates:
    """The updates of one round that are checked and not summed yet, by client.

    They are summed in order of names, whoever answers first, so behind a slow first client wait those of its
    whole cohort. What is beyond the limit is written to one file and read when it is its turn: the same bits.
    The file has no name, so that nothing is left of it, however the process ends.

    Attributes:
        held: bytes in memory.

    """

    def __init__(self, folder: Path, most: int = MOST_BYTES) -> None:
        """Nothing waits.

        Args:
            folder: on whose disk the file would be; made where it is missing and needed.
            most: bytes in memory.

        """
        self.held = 0
        self._folder, self._most = folder, most
        self._here: dict[str, Update] = {}
        self._written: dict[str, tuple[int, int]] = {}
        """Where in the file, and how many bytes."""
        self._file: IO[bytes] | None = None

    def __contains__(self, client: str) -> bool:
        """Whether a client's update waits."""
        return client in self._here or client in self._written

    def put(self, client: str, update: Update) -> None:
        """Let an update wait.

        Raises:
            HashfedError: where the disk is full, or the folder not writable.

        """
        size = _bytes_of(update)
        if self.held and self.held + size > self._most:
            self._written[client] = self._write(wire.encode(update))
        else:
            self._here[client] = update
            self.held += size

    def take(self, client: str) -> Update:
        """An update that waits; it is forgotten here.

        Raises:
            HashfedError: where it cannot be read.

        """
        if client in self._here:
            update = self._here.pop(client)
            self.held -= _bytes_of(update)
            return update
        return cast(Update, wire.decode(self._read(*self._written.pop(client))))

    def close(self) -> None:
        """Forget all of them."""
        self._here.clear()
        self._written.clear()
        self.held = 0
        if self._file is not None:
            self._file.close()
            self._file = None

    def _write(self, data: bytes) -> tuple[int, int]:
        try:
            if self._file is None:
                self._folder.mkdir(parents=True, exist_ok=True)
                self._file = tempfile.TemporaryFile(dir=self._folder)  # noqa: SIM115 (closed by close)
            start = self._file.seek(0, 2)
            self._file.write(data)
            self._file.flush()
        except OSError as error:
            raise HashfedError(
                f"{self._folder}: updates that wait for their turn cannot be written "
                f"({error.strerror or error})"
            ) from None
        return start, len(data)

    def _read(self, start: int, size: int) -> bytes:
        assert self._file is not None, "something was written"
        try:
            self._file.seek(start)
            return self._file.read(size)
        except OSError as error:
            raise HashfedError(
                f"{self._folder}: updates that wait for their turn cannot be read ({error.strerror or error})"
            ) from None


def _bytes_of(update: Update) -> int:
    return sum(value.nbytes for value in update.tensors().values())
