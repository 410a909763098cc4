"""Comma- or tab-separated values with the columns' names in the first line."""

import csv
from collections.abc import Mapping
from pathlib import Path

from hashfed.display import shown
from hashfed.errors import HashfedError
from hashfed.tasks.next_item.log import Log
from hashfed.tasks.next_item.readers.columns import Columns
from hashfed.tasks.next_item.readers.lines import text_lines


def read_separated(path: Path, where: str, wanted: Mapping[str, str | None], log: Log) -> None:
    """Add the file's interactions; a name may be quoted, but no line break is part of one.

    Raises:
        HashfedError: where the first line lacks a column, or another line does not fit it.

    """
    between = "\t" if path.name.lower().removesuffix(".gz").endswith(".tsv") else ","
    columns = None
    for line, here in text_lines(path, where):
        try:
            (fields,) = csv.reader([line], delimiter=between, strict=True)
        except csv.Error as error:
            raise HashfedError(f"{here}: {shown(line)}: {error}") from None
        if columns is None:
            columns = Columns.of(fields, wanted, here)
            continue
        columns.add(log, fields, line, here)
