"""Lines ``user item``: one interaction each, the oldest of a user first."""

from pathlib import Path

from hashfed.display import shown
from hashfed.errors import HashfedError
from hashfed.tasks.next_item.log import Log
from hashfed.tasks.next_item.readers.lines import checked, text_lines


def read_user_item(path: Path, where: str, log: Log) -> None:
    """Add the file's interactions.

    Raises:
        HashfedError: where a line is none.

    """
    for line, here in text_lines(path, where):
        fields = line.split()
        if len(fields) != 2:
            remedy = (
                "; for all items of a user in one line set data.format = user-items"
                if len(fields) > 2
                else ""
            )
            raise HashfedError(
                f"{here}: {shown(line)}: must be 'user item', not {len(fields)} fields{remedy}"
            )
        log.add(checked("user", fields[0], here), checked("item", fields[1], here))
