"""Rows of comma- or tab-separated values, whose texts may go over several lines."""

import csv
from collections.abc import Iterator
from pathlib import Path

from hashfed.data.parquet import Choose
from hashfed.data.text_files import byte_lines
from hashfed.display import shown
from hashfed.errors import HashfedError

TABS = (".tsv", ".tsv.gz")


def separated_rows(path: Path, where: str, choose: Choose) -> Iterator[tuple[str, list[str]]]:
    """The chosen columns' values, row by row, with where each row ends; names are in the first line.

    Raises:
        HashfedError: beginning with ``where``, where the file is no such table; what ``choose`` raises.

    """
    places: list[int] | None = None
    width = 0
    reader = csv.reader(
        _lines(path, where), delimiter="\t" if path.name.lower().endswith(TABS) else ",", strict=True
    )
    while True:
        try:
            row = next(reader, None)
        except csv.Error as error:
            raise HashfedError(f"{where}, line {reader.line_num}: {error}") from None
        if row is None:
            break
        here = f"{where}, line {reader.line_num}"
        if places is None:
            places, width = list(choose(row)), len(row)
        elif row and len(row) != width:
            raise HashfedError(
                f"{here}: {shown(row)}: must have {width} columns as the first line, not {len(row)}"
            )
        elif row:
            yield here, [row[place] for place in places]


def separated_header(path: Path, where: str) -> list[str]:
    """The names of the columns; none in an empty file.

    Raises:
        HashfedError: as ``separated_rows``.

    """
    found: list[str] = []

    def keep(names: list[str]) -> list[int]:
        found.extend(names)
        return []

    next(separated_rows(path, where, keep), None)
    return found


def _lines(path: Path, where: str) -> Iterator[str]:
    for number, line in enumerate(byte_lines(path, where), start=1):
        try:
            yield line.decode("utf-8-sig" if number == 1 else "utf-8") + "\n"
        except UnicodeDecodeError:
            raise HashfedError(f"{where}, line {number}: {shown(line)}: must be UTF-8 text") from None
