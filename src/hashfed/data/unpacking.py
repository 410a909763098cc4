"""Compressed files and archives, unpacked into a folder of the system's for as long as they are read."""

import errno
import lzma
import tarfile
import tempfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from hashfed.display import brief, printable
from hashfed.errors import HashfedError

XZ = (".lzma", ".xz")
TAR = (".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tbz2", ".tar.xz", ".txz")
CHUNK = 2**20
"""Bytes that are held at a time."""


def is_archive(name: str) -> bool:
    """Whether a file of this name holds several."""
    return name.lower().endswith(TAR)


def is_compressed(name: str) -> bool:
    """Whether a file of this name holds one other."""
    return name.lower().endswith(XZ) and not is_archive(name)


@contextmanager
def decompressed(path: Path, fits: Callable[[bytes], bool], due: str) -> Iterator[Path]:
    """The content of a ``.lzma`` or ``.xz`` file as a file, removed afterwards.

    Args:
        path: of the file.
        fits: whether content that begins with these 64 bytes is looked for; else nothing is unpacked.
        due: what is looked for, in words.

    Raises:
        HashfedError: where the file is damaged or something else, or the disk is full.

    """
    with _temporary_folder() as folder:
        unpacked = folder / "content"
        with _reading(path), lzma.open(path) as file:
            start = file.read(64)
            if not fits(start):
                raise HashfedError(f"{path}: holds something else than {due}")
            _write(path, unpacked, file, start)
        yield unpacked


@contextmanager
def extracted(path: Path, is_wanted: Callable[[str], bool]) -> Iterator[Path]:
    """A folder with the files of a tar archive that are wanted by their names, without the archive's folders.

    Raises:
        HashfedError: where the archive is damaged or has a wanted file twice, or the disk is full.

    """
    with _temporary_folder() as folder:
        with _members(path) as members:
            for name, file in members:
                if is_wanted(name):
                    if (folder / name).exists():
                        raise HashfedError(f"{path}: holds two files {printable(brief(name))}")
                    _write(path, folder / name, file)
        yield folder


def archived_lines(path: Path, suffix: str, most: int, longest: int) -> list[bytes]:
    """The first lines of the file in a tar archive whose name ends so; nothing is written.

    Raises:
        HashfedError: where the archive is damaged, or has no such file.

    """
    with _members(path) as members:
        for name, file in members:
            if name.endswith(suffix):
                return first_lines(file, most, longest)
    raise HashfedError(f"{path}: holds no file {suffix}")


def first_lines(file: IO[bytes], most: int, longest: int) -> list[bytes]:
    """At most so many lines of at most so many bytes; a longer one is cut into several."""
    found: list[bytes] = []
    while len(found) < most and (line := file.readline(longest)):
        found.append(line)
    return found


@contextmanager
def _members(path: Path) -> Iterator[Iterator[tuple[str, IO[bytes]]]]:
    """The regular files of an archive, one by one, with the last parts of their names."""

    def each(archive: tarfile.TarFile) -> Iterator[tuple[str, IO[bytes]]]:
        for member in archive:
            file = archive.extractfile(member) if member.isreg() else None
            if file is not None:
                yield member.name.rpartition("/")[2], file

    # A stream: every byte is decompressed once, and an archive says little of itself that is trusted.
    with _reading(path), tarfile.open(path, "r|*") as archive:
        yield each(archive)


def _write(source: Path, target: Path, file: IO[bytes], start: bytes = b"") -> None:
    try:
        # Without a buffer, so that a full disk is met where something is written, and nowhere else.
        output = target.open("wb", buffering=0)
    except OSError as error:
        raise _unwritable(source, target, error) from None
    with output:
        chunk = memoryview(start)
        while chunk or (chunk := memoryview(file.read(CHUNK))):
            try:
                chunk = chunk[output.write(chunk) :]
            except OSError as error:
                raise _unwritable(source, target, error) from None


@contextmanager
def _temporary_folder() -> Iterator[Path]:
    try:
        folder = tempfile.TemporaryDirectory(prefix="hashfed-")
    except OSError as error:
        raise HashfedError(f"{tempfile.gettempdir()}: {error.strerror or error} (set TMPDIR)") from None
    with folder as name:
        yield Path(name)


@contextmanager
def _reading(path: Path) -> Iterator[None]:
    """A block in which ``path`` alone is read, so that errors are its own."""
    try:
        yield
    except (lzma.LZMAError, tarfile.TarError, EOFError, zlib.error) as error:
        raise HashfedError(f"{path}: damaged or cut off ({_said(error)})") from None
    except OSError as error:
        # Decompressors say so of damaged data, without a number.
        problem = error.strerror if error.errno else f"damaged or cut off ({_said(error)})"
        raise HashfedError(f"{path}: {problem}") from None


def _said(error: Exception) -> str:
    return printable(brief(" ".join(str(error).split())))


def _unwritable(source: Path, target: Path, error: OSError) -> HashfedError:
    place = target.parent
    remedy = "unpack it yourself where there is room, and name the unpacked one"
    if error.errno == errno.ENOSPC:
        remedy = f"set TMPDIR to a folder with room, or {remedy}"
    return HashfedError(f"{source}: cannot be unpacked to {place} ({error.strerror or error}); {remedy}")
