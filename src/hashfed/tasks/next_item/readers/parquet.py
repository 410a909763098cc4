"""Parquet files of interactions."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hashfed.data.parquet import parquet_rows
from hashfed.display import shown
from hashfed.errors import HashfedError
from hashfed.tasks.next_item.log import Log
from hashfed.tasks.next_item.readers.columns import Columns, read_time
from hashfed.tasks.next_item.readers.lines import checked


def read_parquet(path: Path, where: str, wanted: Mapping[str, str | None], log: Log) -> None:
    """Add the file's interactions; messages count rows from 1.

    Raises:
        HashfedError: where pyarrow is missing, the file is none, lacks a column, or a value is none.

    """

    def choose(header: list[str]) -> list[int]:
        columns = Columns.of(header, wanted, where)
        return [place for place in (columns.user, columns.item, columns.time) if place is not None]

    for number, values in enumerate(parquet_rows(path, where, choose), start=1):
        _add(values, f"{where}, row {number}", log)


def _add(values: list[Any], where: str, log: Log) -> None:
    user, item, *rest = values
    for kind, value in (("user", user), ("item", item)):
        if not isinstance(value, str | int):
            raise HashfedError(f"{where}: {kind} = {shown(value)}: must be a text or a whole number")
    time = None
    if rest:
        # A point in time as seconds: only the order counts.
        stamp = rest[0].timestamp() if hasattr(rest[0], "timestamp") else rest[0]
        time = read_time(str(stamp), where)
    log.add(checked("user", str(user), where), checked("item", str(item), where), time)
