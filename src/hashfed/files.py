"""Files that are either the old or the new ones, never halves; and paths as people write them."""

import contextlib
import errno
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

from hashfed.errors import HashfedError


def check_writable(path: Path) -> None:
    """Find out before a long work whether its result can be written; nothing is left there, nothing changed.

    Raises:
        HashfedError: where it cannot.

    """
    try:
        if path.is_dir():
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
        there = next(folder for folder in path.absolute().parents if folder.exists())
        with tempfile.NamedTemporaryFile(dir=there):
            pass
    except OSError as error:
        raise _refused(path, error) from None


def write_atomically(path: Path, data: bytes) -> None:
    """Replace ``path`` by ``data``: written beside it, flushed to disk, then renamed over it.

    Raises:
        HashfedError: where the disk is full or the folder not writable; ``path`` is then as it was.

    """
    beside = _beside(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with beside.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        beside.replace(path)
    except OSError as error:
        with contextlib.suppress(OSError):
            beside.unlink(missing_ok=True)
        raise _refused(path, error) from None


@contextlib.contextmanager
def writing(path: Path) -> Iterator[None]:
    """What is done in the block writes ``path``.

    Raises:
        HashfedError: where the disk is full or the folder not writable.

    """
    try:
        yield
    except OSError as error:
        raise _refused(path, error) from None


def with_home(path: str) -> str:
    """The path with ``~`` and ``~user`` at its beginning replaced by the home folder.

    Raises:
        HashfedError: where there is no such user.

    """
    if not path.startswith("~"):
        return path
    try:
        return str(Path(path).expanduser())
    except RuntimeError:
        who = path.partition("/")[0]
        raise HashfedError(f"no home folder is known for {who}; in this folder: ./{path}") from None


def _beside(path: Path) -> Path:
    return path.with_name(f".{path.name}.new")


def _refused(path: Path, error: OSError) -> HashfedError:
    return HashfedError(f"{path}: cannot be written ({error.strerror or error})")
