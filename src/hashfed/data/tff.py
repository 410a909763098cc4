"""The federated data sets of TensorFlow Federated (TFF), such as Stack Overflow, as they are downloaded."""

from contextlib import ExitStack
from pathlib import Path

from hashfed.data.client_texts import ClientTexts
from hashfed.data.part import Part
from hashfed.data.tff_hdf5 import FILES, SplitFile, read_hdf5
from hashfed.data.unpacking import decompressed, extracted, is_archive, is_compressed
from hashfed.errors import HashfedError

SQLITE = (".sqlite", ".sqlite3")
HDF5 = (".h5", ".hdf5")
MAGIC = {"sqlite": b"SQLite format 3\0", "hdf5": b"\x89HDF\r\n\x1a\n"}
"""The first bytes of a file, which tell what it is."""


def is_tff(source: str) -> bool:
    """Whether a source is a file of TFF's by its name, or a folder with TFF's HDF5 files."""
    path = Path(source)
    name = path.name.lower()
    try:
        if name.endswith((*SQLITE, *HDF5)) or is_compressed(name) or is_archive(name):
            return not path.is_dir()
        return any((path / file).is_file() for file in FILES)
    except OSError:
        return False  # no usable path, which its reader says


def read_tff(path: Path, part: Part, where: str) -> list[ClientTexts]:
    """The clients of such a source that a part needs.

    Args:
        path: a file of SQLite or HDF5, one of them compressed, or a folder or archive of HDF5 files.
        part: what is needed.
        where: what messages call the source.

    Raises:
        HashfedError: where it is damaged or of another layout.

    """
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
            return read_hdf5(files, part, where)
        file = path
        if is_compressed(path.name):
            due = "an SQLite or HDF5 file"
            file = unpacked.enter_context(decompressed(path, lambda head: _kind(head) is not None, due))
        kind = _kind(_head(file, path))
        if kind == "sqlite":
            from hashfed.data.tff_sqlite import read_sqlite  # whose library others need not load

            return read_sqlite(file, part, path)
        if kind == "hdf5":
            return read_hdf5([SplitFile(file, None, str(path))], part, where)
        raise HashfedError(f"{path}: neither an SQLite nor an HDF5 file by its first bytes; damaged?")


def _kind(head: bytes) -> str | None:
    return next((kind for kind, magic in MAGIC.items() if head.startswith(magic)), None)


def _head(file: Path, shown_as: Path) -> bytes:
    try:
        with file.open("rb") as opened:
            return opened.read(max(map(len, MAGIC.values())))
    except OSError as error:
        raise HashfedError(f"{shown_as}: {error.strerror or error}") from None
