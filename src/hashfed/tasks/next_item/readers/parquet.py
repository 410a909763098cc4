"""Parquet files, a batch of rows at a time."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hashfed.display import brief, shown
from hashfed.errors import HashfedError
from hashfed.tasks.next_item.log import Log
from hashfed.tasks.next_item.readers.columns import Columns, read_time
from hashfed.tasks.next_item.readers.lines import checked

NEEDS = "needs the package pyarrow (pip install 'hashfed[parquet]')"


def read_parquet(path: Path, where: str, wanted: Mapping[str, str | None], log: Log) -> None:
    """Add the file's interactions; messages count rows from 1.

    Raises:
        HashfedError: where pyarrow is missing, the file is none, lacks a column, or a value is none.

    """
    try:
        import pyarrow
        import pyarrow.parquet
    except ModuleNotFoundError:
        raise HashfedError(f"{where}: {NEEDS}") from None
    try:
        with pyarrow.parquet.ParquetFile(path) as file:
            header = list(file.schema_arrow.names)
            columns = Columns.of(header, wanted, where)
            places = [place for place in (columns.user, columns.item, columns.time) if place is not None]
            number = 0
            for batch in file.iter_batches(columns=[header[place] for place in places]):
                for values in zip(*(batch.column(header[place]) for place in places), strict=True):
                    number += 1
                    _add([value.as_py() for value in values], f"{where}, row {number}", log)
    except (OSError, pyarrow.ArrowException, UnicodeDecodeError) as error:
        # Of damaged files pyarrow says things of any kind, in one line or several.
        problem = getattr(error, "strerror", None)
        problem = problem or f"no readable Parquet file ({brief(' '.join(str(error).split()))})"
        raise HashfedError(f"{where}: {problem}") from None


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
