"""Two thousand damaged files of all formats: each is read, or refused with one line that names it.

    python -m pytest -n 0 -m slow tests/data/test_mutated_files.py

Run by name, for it takes a minute. Seeds are stated: what fails once fails again.
"""

import gzip
import importlib.util
import json
import shutil
import sqlite3
import warnings
import zlib
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

import format_files as files
from hashfed.config import make_config
from hashfed.data import stream_texts
from hashfed.data.left_out import LeftOut
from hashfed.errors import HashfedError
from split_texts import Splits
from tff_files import compress, write_hdf5, write_sqlite

SPLITS: Splits = {
    "train": {"1": ["how do i sort a list ?", "use sorted ( x )"], "zoë": ["naïve use of <URL>", ""]},
    "test": {"1": ["a list ?"], "9": ["use x ( i )", "how do i"]},
}
WORDS = sorted({word for texts in SPLITS["train"].values() for text in texts for word in text.split()})
TEXT = "To be, or not to be, that is the question: Whether 'tis nobler in the mind to suffer"
SEED, FILES = 1, 2000


def json_lines(folder: Path) -> Path:
    path = folder / "a.jsonl"
    lines = [
        {"client": client, "texts": texts, "split": split}
        for split, clients in SPLITS.items()
        for client, texts in clients.items()
    ]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


def packed_lines(folder: Path) -> Path:
    path = folder / "a.jsonl.gz"
    path.write_bytes(gzip.compress(json_lines(folder).read_bytes()))
    return path


def texts(folder: Path) -> Path:
    (folder / "texts").mkdir()
    (folder / "texts" / "ann.txt").write_text("how do i\nsort a list ?\n")
    return folder / "texts"


def shakespeare(folder: Path) -> Path:
    (folder / "all_data.json").write_text(json.dumps(files.leaf({"HAMLET": files.shakespeare(TEXT)})))
    return folder / "all_data.json"


WRITERS: dict[str, tuple[str, Callable[[Path], Path]]] = {
    "json lines": ("json", json_lines),
    "packed lines": ("json", packed_lines),
    "texts": ("json", texts),
    "tff": ("sqlite3", lambda folder: write_sqlite(folder / "a.sqlite", SPLITS)),
    "tff packed": ("lzma", lambda folder: compress(write_sqlite(folder / "a.sqlite", SPLITS), ".xz")),
    "tff hdf5": ("h5py", lambda folder: write_hdf5(folder / "h5", SPLITS)),
    "fedjax": ("msgpack", lambda folder: files.write_fedjax(folder / "fedjax", SPLITS)),
    "fedjax alone": ("msgpack", lambda folder: files.write_fedjax_file(folder / "a.sqlite", SPLITS["train"])),
    "pfl": ("h5py", lambda folder: files.write_pfl(folder / "so.hdf5", SPLITS, WORDS)),
    "leaf": ("ijson", lambda folder: files.write_leaf(folder / "leaf", SPLITS)),
    "shakespeare": ("ijson", shakespeare),
    "flute": ("ijson", lambda folder: files.write_flute_json(folder / "flute", SPLITS)),
    "flute hdf5": ("h5py", lambda folder: files.write_flute_hdf5(folder / "flute", SPLITS)),
    "datasets": ("pyarrow", lambda folder: files.write_datasets(folder / "datasets", SPLITS)),
    "partitions": ("pyarrow", lambda folder: files.write_partitions(folder / "partitions", SPLITS)),
    "parquet": ("pyarrow", lambda folder: files.write_parquet(folder / "parquet", SPLITS)),
    "csv": ("csv", lambda folder: files.write_csv(folder / "a.csv", SPLITS)),
}


def mutated(data: bytes, rng: np.random.Generator) -> bytes:
    """Bytes cut off, changed, moved, doubled, taken out or put in."""
    if rng.random() < 0.25:
        return data[: rng.integers(len(data) + 1)]
    for _ in range(rng.integers(1, 4)):
        at, size = int(rng.integers(len(data) + 1)), int(rng.integers(1, 17))
        some = rng.integers(256, size=size, dtype=np.uint8).tobytes()
        gone = data[at : at + size]
        changes = (some[:1], some, some + gone, b"", bytes(size), gone * 3, b"\xff" * size)
        data = data[:at] + changes[rng.integers(len(changes))] + data[at + size :]
    return data


def damage(path: Path, rng: np.random.Generator) -> None:
    """Change a file, or half of the time, of FedJAX's and gzip's, what is compressed in it."""
    data = path.read_bytes()
    inside = rng.random() < 0.5
    if inside and path.name.endswith(".gz"):
        path.write_bytes(gzip.compress(mutated(gzip.decompress(data), rng)))
    elif inside and b"federated_data" in data:
        with closing(sqlite3.connect(path)) as database, database:
            (client, blob), *_ = database.execute("SELECT client_id, data FROM federated_data").fetchall()
            blob = zlib.compress(mutated(zlib.decompress(blob), rng))
            database.execute("UPDATE federated_data SET data = ? WHERE client_id = ?", (blob, client))
    else:
        path.write_bytes(mutated(data, rng))


def read(source: Path) -> Iterator[str]:
    """Messages with which a source is refused, as a configuration and as a stream."""
    try:
        make_config({"data": {"source": str(source), "vocabulary": 1}})
        for piece in stream_texts(str(source), "data.source", None, LeftOut()):
            assert all(isinstance(text, str) for text in piece.texts)
            assert piece.client.encode() is not None
    except HashfedError as error:
        yield str(error)


@pytest.mark.slow
@pytest.mark.parametrize("name", WRITERS)
def test_damaged_files_are_read_or_refused_in_one_line(name: str, tmp_path: Path) -> None:
    package, write = WRITERS[name]
    if importlib.util.find_spec(package) is None:
        pytest.skip(f"needs the package {package}")
    good, work = tmp_path / "good", tmp_path / "work"
    good.mkdir()
    source = write(good).relative_to(good)
    assert not list(read(good / source))
    refused = 0
    for number in range(-(-FILES // len(WRITERS))):
        rng = np.random.default_rng([SEED, list(WRITERS).index(name), number])
        shutil.copytree(good, work)
        found = sorted(path for path in (work / source).rglob("*") if path.is_file()) or [work / source]
        damage(found[rng.integers(len(found))], rng)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            for message in read(work / source):
                refused += 1
                assert str(work) in message, (number, message)
                assert "\n" not in message, (number, message)
                assert len(message) < 2000, (number, message)
        shutil.rmtree(work)
    assert refused > 10
