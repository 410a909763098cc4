"""Which columns of a table hold users, items and times."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from hashfed.data.columns import find_columns
from hashfed.display import shown
from hashfed.errors import HashfedError
from hashfed.tasks.next_item.log import Log
from hashfed.tasks.next_item.readers.lines import checked

KNOWN = {
    "user": ("user", "user_id", "userid"),
    "item": ("item", "item_id", "itemid"),
    "time": ("time", "timestamp"),
}
"""Names of columns, in small letters, that are taken where none is set."""


@dataclass(frozen=True)
class Columns:
    """Places of columns of ``width``; ``time`` is None where there is none."""

    user: int
    item: int
    time: int | None
    width: int

    @classmethod
    def of(cls, header: Sequence[str], wanted: Mapping[str, str | None], where: str) -> "Columns":
        """Found by their names.

        Args:
            header: names of all columns.
            wanted: by ``user``, ``item`` and ``time``: the name that is set, or None.
            where: for messages.

        Raises:
            HashfedError: where one is missing; of the time only where it is set.

        """
        found = find_columns(header, wanted, KNOWN, where, optional="time")
        user, item = found["user"], found["item"]
        if user is None or item is None:
            raise AssertionError
        return cls(user, item, found["time"], len(header))

    def add(self, log: Log, fields: Sequence[str], line: str, here: str) -> None:
        """Add the interaction of a line, which is at ``here`` and has these fields.

        Raises:
            HashfedError: where they do not fit.

        """
        if len(fields) != self.width:
            raise HashfedError(
                f"{here}: {shown(line)}: must have {self.width} columns as the first line, not {len(fields)}"
            )
        time = None if self.time is None else read_time(fields[self.time], here)
        log.add(checked("user", fields[self.user], here), checked("item", fields[self.item], here), time)


def read_time(text: str, where: str) -> float:
    """A time as a number of whatever unit.

    Raises:
        HashfedError: where it is none.

    """
    try:
        time = float(text)
    except ValueError:
        time = math.nan
    if not math.isfinite(time):
        raise HashfedError(f"{where}: time = {shown(text)}: must be a number, such as seconds since 1970")
    return time
