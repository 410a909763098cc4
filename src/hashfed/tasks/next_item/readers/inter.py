"""RecBole's ``.inter``: columns between tabs, whose names and types stand in the first line."""

from collections.abc import Mapping
from pathlib import Path

from hashfed.display import shown
from hashfed.errors import HashfedError
from hashfed.tasks.next_item.log import Log
from hashfed.tasks.next_item.readers.columns import Columns, read_time
from hashfed.tasks.next_item.readers.lines import checked, text_lines

TYPES = ("token", "float", "token_seq", "float_seq")


def read_inter(path: Path, where: str, wanted: Mapping[str, str | None], log: Log) -> None:
    """Add the file's interactions.

    Raises:
        HashfedError: where the first line names no types or lacks a column, or another line does not fit it.

    """
    columns, width = None, 0
    for line, here in text_lines(path, where):
        fields = line.split("\t")
        if columns is None:
            header = [name.rpartition(":")[::2] for name in fields]
            for (name, kind), field in zip(header, fields, strict=True):
                if not name or kind not in TYPES:
                    raise HashfedError(
                        f"{here}: {shown(field)}: must be a column's name:type ({', '.join(TYPES)})"
                    )
            columns, width = Columns.of([name for name, _ in header], wanted, here), len(fields)
            kinds = {
                "user": (columns.user, "token"),
                "item": (columns.item, "token"),
                "time": (columns.time, "float"),
            }
            for of, (place, due) in kinds.items():
                if place is not None and header[place][1] != due:
                    raise HashfedError(
                        f"{here}: {shown(fields[place])}: the column of the {of}s must be of type {due}"
                    )
            continue
        if len(fields) != width:
            raise HashfedError(
                f"{here}: {shown(line)}: must have {width} columns as the first line, not {len(fields)}"
            )
        time = None if columns.time is None else read_time(fields[columns.time], here)
        log.add(
            checked("user", fields[columns.user], here), checked("item", fields[columns.item], here), time
        )
