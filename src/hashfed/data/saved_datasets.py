"""Folders that ``datasets`` has saved (``save_to_disk``), as flwr-datasets' partitions: Arrow files and JSON.

dataset_info.json, state.json, data-00000-of-00002.arrow, ...    a data set
dataset_dict.json and a folder for each split                    several
"""

import json
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path, PurePath
from typing import Any

from hashfed.data.parquet import ROWS, Choose, chosen_names, library, reading, rows
from hashfed.errors import HashfedError

STATE, DICT = "state.json", "dataset_dict.json"
KIND = "Arrow file"
MOST_STATE = 2**20
"""Bytes of a state.json."""


def is_saved(folder: Path) -> bool:
    """Whether a folder, or one of those in it, is a saved data set."""
    if _is_data_set(folder) or (folder / DICT).is_file():
        return True
    return any(_is_data_set(inner) or (inner / DICT).is_file() for inner in _folders(folder))


def data_sets(folder: Path) -> list[Path]:
    """The folders of data sets in a folder, or itself, in order of their names, numbers by size.

    Raises:
        HashfedError: where it cannot be read.

    """
    found, waiting = [], [folder]
    while waiting:
        here = waiting.pop()
        if _is_data_set(here):
            found.append(here)
        else:
            waiting.extend(_folders(here))
    return sorted(found, key=lambda path: [_in_order(part) for part in path.parts])


def arrow_rows(folder: Path, where: str, choose: Choose) -> Iterator[tuple[str, list[Any]]]:
    """The chosen columns' values of a data set, row by row, with where each row is.

    Raises:
        HashfedError: where pyarrow is missing, or the data set is damaged; what ``choose`` raises.

    """
    pyarrow = library(where)
    for file in _files(folder):
        path, number = folder / file, 0
        with ExitStack() as opened:
            with reading(pyarrow, str(path), KIND):
                source = opened.enter_context(pyarrow.memory_map(str(path)))
                stream = opened.enter_context(pyarrow.ipc.open_stream(source))
                header = list(stream.schema.names)
            names = chosen_names(header, choose, str(path))
            with reading(pyarrow, str(path), KIND):
                for batch in stream:
                    batch = batch.select(list(dict.fromkeys(names)))
                    batch.validate(full=True)  # or a damaged file's lengths lead anywhere in memory
                    for start in range(0, len(batch), ROWS):
                        for row in rows(batch.slice(start, ROWS), names):
                            number += 1
                            yield f"{path}, row {number}", row


def arrow_header(folder: Path, where: str) -> list[str]:
    """The names of a data set's columns; none where it has no row.

    Raises:
        HashfedError: as ``arrow_rows``.

    """
    pyarrow = library(where)
    for file in _files(folder):
        path = folder / file
        with reading(pyarrow, str(path), KIND), pyarrow.memory_map(str(path)) as source:
            return list(pyarrow.ipc.open_stream(source).schema.names)
    return []


def _files(folder: Path) -> list[str]:
    """The names of a data set's Arrow files, in order."""
    path = folder / STATE
    try:
        with path.open("rb") as file:
            state = json.loads(file.read(MOST_STATE))
    except OSError as error:
        raise HashfedError(f"{path}: {error.strerror or error}") from None
    except (ValueError, RecursionError):
        raise HashfedError(f"{path}: damaged, or no JSON") from None
    files = state.get("_data_files") if isinstance(state, dict) else None
    names = [file.get("filename") if isinstance(file, dict) else None for file in files or ()]
    if not isinstance(files, list) or not all(_is_name(name) for name in names):
        raise HashfedError(f'{path}: needs "_data_files", a list with the "filename" of each')
    if state.get("_indices_data_files") or state.get("_indices_files"):
        raise HashfedError(
            f"{path}: a selection of rows of an old version of datasets; save it again with a newer one"
        )
    return [str(name) for name in names]


def _is_name(name: object) -> bool:
    return isinstance(name, str) and PurePath(name).name == name and "\0" not in name


def _is_data_set(folder: Path) -> bool:
    return (folder / STATE).is_file() and (folder / "dataset_info.json").is_file()


def _folders(folder: Path) -> list[Path]:
    """Without those that are linked, which might lead in circles."""
    try:
        inner = [path for path in folder.iterdir() if not path.name.startswith(".")]
        return [path for path in inner if path.is_dir() and not path.is_symlink()]
    except OSError as error:
        raise HashfedError(f"{folder}: {error.strerror or error}") from None


def _in_order(name: str) -> tuple[str, int]:
    """``partition_2`` is before ``partition_10``."""
    stem = name.rstrip("0123456789")
    return stem, int(name[len(stem) :] or -1)
