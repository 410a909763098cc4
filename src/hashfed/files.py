"""Files that are either the old or the new ones, never halves; and paths as people write them."""

import contextlib
import errno
import os
import tempfile
from collections.abc import Iterator, Sequence
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


def create_together(files: Sequence[tuple[Path, bytes, int]]) -> None:
    """New files, each with its content and mode: all of them, flushed to disk, or none.

    They are written beside their places, then linked there in this order; only a process that is killed
    between two links leaves the first ones alone.

    Raises:
        HashfedError: where one is there already, or cannot be written; then nothing has changed.

    """
    with contextlib.ExitStack() as stack:
        written: list[tuple[Path, Path]] = []
        for path, data, mode in files:
            with writing(path):
                path.parent.mkdir(parents=True, exist_ok=True)
                beside = stack.enter_context(tempfile.TemporaryDirectory(prefix=".new-", dir=path.parent))
                written.append((Path(beside) / path.name, path))
                _write_new(written[-1][0], data, mode)
        try:
            for hidden, path in written:
                _link(hidden, path)
        except BaseException:
            for hidden, path in written:
                with contextlib.suppress(OSError):
                    if path.samefile(hidden):
                        path.unlink()
            raise
        for folder in dict.fromkeys(path.parent for _, path in written):
            with writing(folder):
                sync_folder(folder)


def sync_folder(folder: Path) -> None:
    """Flush to disk which files a folder has."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


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


def _write_new(path: Path, data: bytes, mode: int) -> None:
    """With its mode from the first byte on."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    with os.fdopen(descriptor, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def _link(hidden: Path, path: Path) -> None:
    try:
        os.link(hidden, path)
    except FileExistsError:
        raise HashfedError(f"{path}: exists and is not overwritten") from None
    except OSError as error:
        raise _refused(path, error) from None


def _beside(path: Path) -> Path:
    return path.with_name(f".{path.name}.new")


def _refused(path: Path, error: OSError) -> HashfedError:
    return HashfedError(f"{path}: cannot be written ({error.strerror or error})")
