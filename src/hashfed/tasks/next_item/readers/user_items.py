"""Lines ``user item item ...``: all items of a user, the oldest first."""

from pathlib import Path

from hashfed.display import shown
from hashfed.errors import HashfedError
from hashfed.tasks.next_item.log import Log
from hashfed.tasks.next_item.readers.lines import checked, text_lines


def read_user_items(path: Path, where: str, log: Log) -> None:
    """Add the file's interactions; a user without an item is left out, as others have it.

    Raises:
        HashfedError: where a user is there twice.

    """
    for line, here in text_lines(path, where):
        user, *items = line.split()
        if log.knows(checked("user", user, here)):
            raise HashfedError(
                f"{here}: user = {shown(user)}: there before; a line must have all items of a user (for one "
                "interaction in each line set data.format = user-item)"
            )
        for item in items:
            log.add(user, checked("item", item, here))
