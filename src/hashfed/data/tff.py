"""The federated data sets of TensorFlow Federated (TFF), such as Stack Overflow, as they are downloaded."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from hashfed.data.client_texts import ClientTexts
from hashfed.data.part import Part
from hashfed.data.splits import SplitFile
from hashfed.data.tff_hdf5 import FILES, read_hdf5
from hashfed.data.unpacking import decompressed, extracted, is_archive, is_compressed
from hashfed.errors import HashfedError

MAGIC = {"sqlite": b"SQLite format 3\0", "hdf5": b"\x89HDF\r\n\x1a\n"}
"""The first bytes of a file, which tell what it is."""


def is_folder_of_tff(path: Path) -> bool:
    """Whether a folder has TFF's HDF5 files."""
    return any((path / file).is_file() for file in FILES)


def read_tff(path: Path, part: Part, where: str) -> list[ClientTexts]:
    """The clients of such a source that a part needs.

    Args:
        path: a file of SQLite or HDF5, one of them compressed, or a folder or archive of HDF5 files.
        part: what is needed.
        where: what messages call the source.

    Raises:
        HashfedError: where it is damaged or of another layout.

    """
    with _found(path) as (file, files):
        if files:
            return list(read_hdf5(files, part, where))
        from hashfed.data.tff_sqlite import read_sqlite  # whose library others need not load

        return read_sqlite(file, part, path)


def stream_tff(path: Path, where: str) -> Iterator[ClientTexts]:
    """All clients of such a source, one after another or, of SQLite, in pieces.

    Raises:
        HashfedError: as ``read_tff``.

    """
    with _found(path) as (file, files):
        if files:
            yield from read_hdf5(files, Part(), where)
        else:
            from hashfed.data.tff_sqlite import stream_sqlite

            yield from stream_sqlite(file, path)


@contextmanager
def _found(path: Path) -> Iterator[tuple[Path, list[SplitFile]]]:
    """A file of SQLite, or the files of HDF5: unpacked, if need be, for as long as the block."""
    with ExitStack() as unpacked:
        if path.is_dir() or is_archive(path.name):
            folder = path
            if not path.is_dir():
                folder = unpacked.enter_context(extracted(path, FILES.__contains__))
            files = [
                SplitFile(folder / name, group, f"{path}: {name}" if folder != path else str(path / name))
                for name, group in FILES.items()
                if (folder / name).is_file()
            ]
            if not files:
                raise HashfedError(f"{path}: holds none of TFF's files {', '.join(FILES)}")
            yield path, files
            return
        file = path
        if is_compressed(path.name):
            due = "an SQLite or HDF5 file"
            file = unpacked.enter_context(decompressed(path, lambda head: _kind(head) is not None, due))
        kind = _kind(_head(file, path))
        if kind is None:
            raise HashfedError(f"{path}: neither an SQLite nor an HDF5 file by its first bytes; damaged?")
        yield file, [SplitFile(file, None, str(path))] if kind == "hdf5" else []


def _kind(head: bytes) -> str | None:
    return next((kind for kind, magic in MAGIC.items() if head.startswith(magic)), None)


def _head(file: Path, shown_as: Path) -> bytes:
    try:
        with file.open("rb") as opened:
            return opened.read(max(map(len, MAGIC.values())))
    except OSError as error:
        raise HashfedError(f"{shown_as}: {error.strerror or error}") from None
