"""Texts written as TensorFlow Federated has them: SQLite, compressed or not, and HDF5."""

import lzma
import sqlite3
import tarfile
from contextlib import closing
from pathlib import Path

from split_texts import Splits

TABLES = """
CREATE TABLE examples (
    split_name TEXT NOT NULL, client_id TEXT NOT NULL, serialized_example_proto BLOB NOT NULL);
CREATE TABLE client_metadata (
    client_id TEXT NOT NULL, split_name TEXT NOT NULL, num_examples INTEGER NOT NULL);
"""
INDEXES = """
CREATE INDEX idx_examples_client_id ON examples (client_id);
CREATE INDEX idx_examples_client_id_split ON examples (split_name, client_id);
CREATE INDEX idx_metadata_client_id ON client_metadata (client_id);
"""


def varint(value: int) -> bytes:
    """An unsigned number as protocol buffers have it."""
    found = bytearray()
    while value >= 128:
        found.append(value % 128 + 128)
        value //= 128
    return bytes([*found, value])


def field(number: int, value: bytes) -> bytes:
    """A field of bytes."""
    return varint(8 * number + 2) + varint(len(value)) + value


def feature(name: str, value: bytes) -> bytes:
    """An entry of the map of features; ``value`` is a ``Feature``."""
    return field(1, field(1, name.encode()) + field(2, value))


def text(value: str) -> bytes:
    """A ``Feature`` with one text."""
    return field(1, field(1, value.encode()))


def example(tokens: str) -> bytes:
    """A ``tf.train.Example`` with the features of Stack Overflow's."""
    features = [
        feature("creation_date", text("2017-03-04 05:06:07.89 UTC")),
        feature("score", field(3, field(1, varint(2**64 - 3)))),  # packed: -3
        feature("tags", text("python|sql")),
        feature("title", text("some title")),
        feature("tokens", text(tokens)),
        feature("type", text("answer")),
    ]
    return field(1, b"".join(features))


def write_sqlite(path: Path, splits: Splits, indexed: bool = True) -> Path:
    """TFF's tables; examples of different clients in turn, as nothing promises that they are together."""
    with closing(sqlite3.connect(path)) as database, database:
        database.executescript(TABLES)
        for split, clients in splits.items():
            most = max(map(len, clients.values()), default=0)
            for number in range(most):
                for client, texts in clients.items():
                    if number < len(texts):
                        row = (split, client, example(texts[number]))
                        database.execute("INSERT INTO examples VALUES (?, ?, ?)", row)
            for client, texts in clients.items():
                database.execute("INSERT INTO client_metadata VALUES (?, ?, ?)", (client, split, len(texts)))
        if indexed:
            database.executescript(INDEXES)
    return path


def compress(path: Path, suffix: str = ".lzma") -> Path:
    """The file beside it in the older (.lzma) or newer (.xz) format."""
    packed = path.with_name(path.name + suffix)
    kind = lzma.FORMAT_ALONE if suffix == ".lzma" else lzma.FORMAT_XZ
    packed.write_bytes(lzma.compress(path.read_bytes(), kind, preset=0))
    return packed


NAMES = {"train": "train", "heldout": "held_out", "test": "test"}
"""In the names of the HDF5 files."""


def write_hdf5(folder: Path, splits: Splits) -> Path:
    """A file for each split."""
    import h5py

    folder.mkdir(exist_ok=True)
    for split, clients in splits.items():
        with h5py.File(folder / f"stackoverflow_{NAMES[split]}.h5", "w") as file:
            for client, texts in clients.items():
                group = file.create_group(f"examples/{client}")
                kind = h5py.string_dtype()
                group.create_dataset("tokens", data=[text.encode() for text in texts], dtype=kind)
                group.create_dataset("title", data=[b"some title"] * len(texts), dtype=kind)
                group.create_dataset("score", data=[1] * len(texts), dtype="i8")
    return folder


def pack(folder: Path, archive: Path) -> Path:
    """A tar archive of the files in a folder, compressed as its name says."""
    kind = archive.name.rpartition(".")[2]
    with tarfile.open(archive, f"w:{kind}" if kind in ("bz2", "gz", "xz") else "w") as file:  # type: ignore[call-overload]
        file.add(folder, "datasets")
    return archive
