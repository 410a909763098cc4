"""RecBole's ``.inter``: columns between tabs, whose names and types stand in the first line."""

from collections.abc import Mapping
from pathlib import Path

from hashfed.display import shown
from hashfed.errors import HashfedError
from hashfed.tasks.next_item.log import Log
from hashfed.tasks.next_item.readers.columns import Columns
from hashfed.tasks.next_item.readers.lines import text_lines

TYPES = ("token", "float", "token_seq", "float_seq")


def read_inter(path: Path, where: str, wanted: Mapping[str, str | None], log: Log) -> None:
    """Add the file's interactions.

    Raises:
        HashfedError: where the first line names no types or lacks a column, or another line does not fit it.

    """
    columns = None
    for line, here in text_lines(path, where):
        fields = line.split("\t")
        if columns is None:
            header = [name.rpartition(":")[::2] for name in fields]
            for (name, kind), field in zip(header, fields, strict=True):
                if not name or kind not in TYPES:
                    raise HashfedError(
                        f"{here}: {shown(field)}: must be a column's name:type ({', '.join(TYPES)})"
                    )
            columns = Columns.of([name for name, _ in header], wanted, here)
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
        columns.add(log, fields, line, here)
