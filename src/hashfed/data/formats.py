"""What a source is, by its name and, where that is ambiguous, by its content."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

from hashfed.data.folders import JSON_LINES, TEXT, is_hidden
from hashfed.data.leaf import is_leaf
from hashfed.data.saved_datasets import is_saved
from hashfed.data.tff import is_folder_of_tff
from hashfed.data.unpacking import is_archive, is_compressed
from hashfed.errors import HashfedError

Format = Literal["json-lines", "texts", "tff", "fedjax", "pfl", "leaf", "flute", "datasets", "parquet", "csv"]
JSON = (".json", ".json.gz")
SQLITE = (".sqlite", ".sqlite3")
HDF5 = (".h5", ".hdf5")
PARQUET = (".parquet",)
SEPARATED = (".csv", ".tsv", ".csv.gz", ".tsv.gz")
PICKLES = (".pkl", ".pck", ".pickle")
PROTOCOL, MOST_PROTOCOL = 0x80, 5
"""How pickles of all but the oldest kinds begin: this byte, then at most this one."""
SUFFIXES: dict[Format, tuple[str, ...]] = {
    "fedjax": SQLITE,
    "leaf": JSON,
    "flute": (*JSON, *HDF5),
    "parquet": PARQUET,
    "csv": SEPARATED,
}
"""Of the files of a folder, by format; others have one file, or rules of their own."""


def recognise(path: Path) -> Format:
    """The format of a file or folder that is there.

    What cannot be read is of the format that its name says first: its reader says what is wrong.

    Raises:
        HashfedError: for a pickle, and a folder with files of several formats.

    """
    if path.is_dir():
        try:
            return _of_folder(path)
        except OSError:
            return "texts"
    name = path.name.lower()
    if is_pickle(path):
        raise HashfedError(
            f"{path}: a pickle, which is never read, for it may run anything; give the texts as JSON Lines, "
            "or in another format of docs/data.md"
        )
    if is_compressed(name) or is_archive(name):
        return "tff"
    if name.endswith(SQLITE):
        from hashfed.data.sqlite_files import has_table  # whose library others need not load

        return "fedjax" if has_table(path, "federated_data") else "tff"
    if name.endswith(HDF5):
        return _of_hdf5(path)
    if name.endswith(JSON):
        return "leaf" if is_leaf(path) else "json-lines"
    return "parquet" if name.endswith(PARQUET) else "csv" if name.endswith(SEPARATED) else "json-lines"


def is_pickle(path: Path) -> bool:
    """Whether a file is one of Python's pickles by its name or its first bytes."""
    if path.name.lower().endswith(PICKLES):
        return True
    try:
        with path.open("rb") as file:
            head = file.read(2)
    except OSError:
        return False
    return len(head) == 2 and head[0] == PROTOCOL and head[1] <= MOST_PROTOCOL


def _of_hdf5(path: Path) -> Format:
    from hashfed.data.hdf5_files import top_level

    names = top_level(path)
    if "metadata" in names and names & {"train", "val", "test"}:
        return "pfl"
    return "flute" if "user_data" in names and "examples" not in names else "tff"


def _of_folder(folder: Path) -> Format:
    """Texts and JSON Lines come first; of each other kind of file the first one is looked at."""
    if is_folder_of_tff(folder):
        return "tff"
    if is_saved(folder):
        return "datasets"
    firsts: dict[tuple[str, ...], Path] = {}
    for path in _files(folder):
        name = path.name.lower()
        if name.endswith((TEXT, *JSON_LINES)):
            return "texts"
        for suffixes in (JSON, SQLITE, HDF5, PARQUET, SEPARATED):
            if name.endswith(suffixes):
                firsts.setdefault(suffixes, path)
    kinds = dict.fromkeys(recognise(path) for path in firsts.values())
    found = [kind for kind in kinds if kind in SUFFIXES]
    if len(found) > 1:
        raise HashfedError(
            f"{folder}: holds files of several formats ({', '.join(found)}); set data.format, or give one of "
            "them"
        )
    return found[0] if found else "texts"


def _files(folder: Path) -> Iterator[Path]:
    """The files that are not hidden, folder by folder."""
    for here, folders, files in os.walk(folder):
        folders[:] = sorted(name for name in folders if not is_hidden(name))
        yield from (Path(here, name) for name in sorted(files) if not is_hidden(name))
