"""A folder that is there when it is complete, and not before."""

import fcntl
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from hashfed.errors import HashfedError
from hashfed.files import writing


@contextmanager
def made(folder: Path) -> Iterator[Path]:
    """A new folder that becomes ``folder`` if all goes well; else it is deleted.

    What was left by a process that was killed is deleted, and one that is at work is left alone.

    Raises:
        HashfedError: where ``folder`` is there, is being made by another process, or cannot be written.

    """
    if folder.exists():
        raise HashfedError(f"{folder}: is there already; delete it, or name another folder")
    new = folder.with_name(f".{folder.name}.preparing")
    with _locked(new, folder):
        try:
            yield new
            with writing(folder):
                new.rename(folder)
            with suppress(OSError):  # not every file system can
                _sync(folder.parent)
        finally:
            shutil.rmtree(new, ignore_errors=True)


@contextmanager
def _locked(new: Path, folder: Path) -> Iterator[None]:
    """``new`` is there, empty and ours; the lock ends with the process, however that ends."""
    with writing(folder):
        new.mkdir(parents=True, exist_ok=True)
        handle = os.open(new, os.O_RDONLY)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise HashfedError(f"{folder}: another process is making it") from None
        if folder.exists():  # since it was looked for
            raise HashfedError(f"{folder}: is there already; delete it, or name another folder")
        with writing(folder):
            for path in new.iterdir():
                path.unlink()
        yield
    finally:
        os.close(handle)


def _sync(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
