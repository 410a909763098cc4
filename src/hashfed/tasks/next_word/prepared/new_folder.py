"""A folder that is there when it is complete, and not before."""

import fcntl
import os
import shutil
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from hashfed.display import printable
from hashfed.errors import HashfedError, HashfedWarning
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
    if os.path.lexists(folder):
        raise ThereError(folder)
    new = folder.with_name(f".{folder.name}.preparing")
    with _locked(folder, wait):
        try:
            with writing(folder):
                if new.exists():
                    shutil.rmtree(new)
                new.mkdir()
            yield new
            with writing(folder):
                new.rename(folder)
            with suppress(OSError):  # not every file system can
                _sync(folder.parent)
        finally:
            shutil.rmtree(new, ignore_errors=True)


@contextmanager
def _locked(folder: Path, wait: bool) -> Iterator[None]:
    """``folder`` is ours to make; the lock ends with the process, however that ends."""
    # A file beside, for network file systems lock nothing that is not open for writing, as folders cannot be.
    path = folder.with_name(f".{folder.name}.lock")
    handle = _lock(path, folder, wait)
    try:
        if os.path.lexists(folder):  # since it was looked for
            raise ThereError(folder)
        yield
    finally:
        with suppress(OSError):
            path.unlink()
        os.close(handle)


def _lock(path: Path, folder: Path, wait: bool) -> int:
    """A handle of the file ``path`` with the lock."""
    while True:
        with writing(folder):
            path.parent.mkdir(parents=True, exist_ok=True)
            handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            _take(handle, folder, wait)
        except HashfedError:
            os.close(handle)
            raise
        except OSError as error:
            os.close(handle)
            with suppress(OSError):
                path.unlink()
            raise HashfedError(f"{path}: cannot be locked ({error.strerror or error})") from None
        # Whoever had it has deleted it: then this is a lock on nothing.
        with suppress(FileNotFoundError):
            if os.path.samestat(os.fstat(handle), path.stat()):
                return handle
        os.close(handle)


def _take(handle: int, folder: Path, wait: bool) -> None:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        said = f"{printable(str(folder))}: another process is making it"
        if not wait:
            raise HashfedError(said) from None
        warnings.warn(f"{said}; this one waits", HashfedWarning, stacklevel=2)
        fcntl.flock(handle, fcntl.LOCK_EX)


def _sync(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
