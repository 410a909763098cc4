"""A folder that is there when it is complete, and not before."""

import fcntl
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from hashfed.errors import HashfedError
from hashfed.files import writing


class ThereError(HashfedError):
    """The folder that was to be made is there."""

    def __init__(self, folder: Path) -> None:
        super().__init__(f"{folder}: is there already; delete it, or name another folder")


@contextmanager
def made(folder: Path, wait: bool = False) -> Iterator[Path]:
    """A new folder that becomes ``folder`` if all goes well; else it is deleted.

    What was left by a process that was killed is deleted, and one that is at work is left alone.

    Args:
        folder: to be made.
        wait: for another process that makes it.

    Raises:
        ThereError: where ``folder`` is there, perhaps since another process made it.
        HashfedError: where it is being made by another process, or cannot be written.

    """
    if folder.exists():
        raise ThereError(folder)
    new = folder.with_name(f".{folder.name}.preparing")
    with _locked(new, folder, wait):
        try:
            yield new
            with writing(folder):
                new.rename(folder)
            with suppress(OSError):  # not every file system can
                _sync(folder.parent)
        finally:
            shutil.rmtree(new, ignore_errors=True)


@contextmanager
def _locked(new: Path, folder: Path, wait: bool) -> Iterator[None]:
    """``new`` is there, empty and ours; the lock ends with the process, however that ends."""
    handle = _lock(new, folder, wait)
    try:
        if folder.exists():  # since it was looked for
            raise ThereError(folder)
        with writing(folder):
            for path in new.iterdir():
                path.unlink()
        yield
    finally:
        os.close(handle)


def _lock(new: Path, folder: Path, wait: bool) -> int:
    """A handle of ``new`` with the lock."""
    while True:
        with writing(folder):
            new.mkdir(parents=True, exist_ok=True)
            handle = os.open(new, os.O_RDONLY)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError:
            os.close(handle)
            raise HashfedError(f"{folder}: another process is making it") from None
        # Whoever had it may have renamed it, or failed and deleted it: then this is a lock on nothing.
        with suppress(FileNotFoundError):
            if folder.exists() or os.path.samestat(os.fstat(handle), new.stat()):
                return handle
        os.close(handle)


def _sync(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
