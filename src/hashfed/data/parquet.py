"""Rows of Parquet files, a batch at a time."""

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from hashfed.display import brief, printable
from hashfed.errors import HashfedError

NEEDS = "needs the package pyarrow (pip install 'hashfed[parquet]')"
Choose = Callable[[list[str]], Sequence[int]]
"""From the names of all columns to the places of those that are read."""
ROWS = 4096
"""That are decoded at a time."""


def parquet_rows(path: Path, where: str, choose: Choose) -> Iterator[list[Any]]:
    """The chosen columns' values, row by row, as Python has them.

    Raises:
        HashfedError: beginning with ``where``, where pyarrow is missing or the file is none; what ``choose``
            raises.

    """
    pyarrow, kind = library(where), "Parquet file"
    with ExitStack() as opened:
        with reading(pyarrow, where, kind):
            file = opened.enter_context(pyarrow.parquet.ParquetFile(path))
            header = list(file.schema_arrow.names)
        names = chosen_names(header, choose, where)
        with reading(pyarrow, where, kind):
            for batch in file.iter_batches(batch_size=ROWS, columns=names):
                yield from rows(batch, names)


def parquet_header(path: Path, where: str) -> list[str]:
    """The names of all columns.

    Raises:
        HashfedError: as ``parquet_rows``.

    """
    pyarrow = library(where)
    with reading(pyarrow, where, "Parquet file"), pyarrow.parquet.ParquetFile(path) as file:
        return list(file.schema_arrow.names)


def chosen_names(header: list[str], choose: Choose, where: str) -> list[str]:
    """The names of the chosen columns.

    Raises:
        HashfedError: where one is that of several columns; what ``choose`` raises.

    """
    names = [header[place] for place in choose(header)]
    for name in names:
        if header.count(name) > 1:
            raise HashfedError(f"{where}: has {header.count(name)} columns {printable(brief(name))}")
    return names


def rows(batch: Any, names: Sequence[str]) -> Iterator[list[Any]]:
    """The values of a batch's columns, row by row."""
    return map(list, zip(*(batch.column(name).to_pylist() for name in names), strict=True))


@contextmanager
def reading(pyarrow: Any, where: str, kind: str) -> Iterator[None]:
    """A block that only calls pyarrow, which says of damaged files things of any kind, in several lines."""
    damaged = OSError, ValueError, KeyError, TypeError, OverflowError, pyarrow.ArrowException
    try:
        yield
    except damaged as error:
        number = getattr(error, "errno", None)
        said = printable(brief(" ".join(str(error).split())))
        problem = os.strerror(number) if number else f"no readable {kind} ({said})"
        raise HashfedError(f"{where}: {problem}") from None


def library(where: str) -> Any:
    """Pyarrow with what is read here.

    Raises:
        HashfedError: where it is missing.

    """
    try:
        import pyarrow
        import pyarrow.ipc
        import pyarrow.parquet
    except ModuleNotFoundError:
        raise HashfedError(f"{where}: {NEEDS}") from None
    return pyarrow
