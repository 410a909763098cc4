"""HDF5 files, by way of h5py."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from hashfed.data.splits import SplitFile
from hashfed.data.text_files import control_problem
from hashfed.display import brief, printable, shown
from hashfed.errors import HashfedError

CHUNK = 256
"""Rows that are read at a time."""


def library(where: str) -> Any:
    """The package h5py.

    Raises:
        HashfedError: beginning with ``where``, where it is missing.

    """
    try:
        import h5py
    except ModuleNotFoundError:
        raise HashfedError(f"{where}: needs the package h5py (pip install 'hashfed[hdf5]')") from None
    return h5py


@contextmanager
def opened(h5py: Any, file: SplitFile) -> Iterator[Any]:
    """The file's content.

    Raises:
        HashfedError: where it is none.

    """
    with reading(file):
        content = h5py.File(file.path, "r")
    with content:
        yield content


@contextmanager
def reading(file: SplitFile) -> Iterator[None]:
    """A block that only calls h5py, which says of damaged files in many ways what it does not understand."""
    try:
        yield
    except (OSError, RuntimeError, KeyError, ValueError, TypeError) as error:
        problem = printable(brief(" ".join(str(error).split())))
        raise HashfedError(f"{file.label}: not an HDF5 file, or damaged ({problem})") from None


def names(h5py: Any, file: SplitFile, content: Any, path: str) -> list[str] | None:
    """The names of the clients that a group is of, in the file's order; None where there is no such group.

    Raises:
        HashfedError: where one is no name.

    """
    with reading(file):
        group = content.get(path)
        found = list(group) if isinstance(group, h5py.Group) else None
    for name in found or ():
        problem = control_problem(name) or ("is not UTF-8" if not _is_utf8(name) else None)
        if problem is not None:
            raise HashfedError(f"{file.label}: the name of client {shown(name)} {problem}")
    return found


def data_set(h5py: Any, file: SplitFile, content: Any, client: str, name: str, where: str) -> tuple[Any, str]:
    """A data set of a client, and what it is, for messages.

    Args:
        h5py: the package.
        file: with it.
        content: of the file.
        client: path of the client's group.
        name: of the data set in that.
        where: what messages call the client.

    Raises:
        HashfedError: where there is no such data set.

    """
    with reading(file):
        group = content.get(client)
        data: Any = group.get(name) if isinstance(group, h5py.Group) else None
        fits = isinstance(data, h5py.Dataset)
        kind = f"{data.dtype} of shape {data.shape}" if fits else ""
    if not fits:
        raise HashfedError(f"{where} has no data set {name}")
    return data, kind


def values(file: SplitFile, data: Any) -> Iterator[Any]:
    """The rows of a data set as Python has them, a few at a time."""
    for start in range(0, len(data), CHUNK):
        with reading(file):
            rows = data[start : start + CHUNK].tolist()
        yield from rows


def top_level(path: Path) -> frozenset[str]:
    """Names at the top of a file; none where it cannot be read, or without h5py."""
    file = SplitFile(path, None, str(path))
    try:
        h5py = library(file.label)
        with opened(h5py, file) as content, reading(file):
            return frozenset(content)
    except HashfedError:
        return frozenset()


def _is_utf8(name: str) -> bool:
    return not any("\ud800" <= char <= "\udfff" for char in name)
