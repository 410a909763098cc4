"""Which columns of a table hold what."""

from collections.abc import Mapping, Sequence

from hashfed.display import brief, printable, shown
from hashfed.errors import HashfedError

MOST_NAMES = 8
"""Columns that a message names."""


def find_columns(
    header: Sequence[str],
    wanted: Mapping[str, str | None],
    known: Mapping[str, Sequence[str]],
    where: str,
    optional: str | None = None,
) -> dict[str, int | None]:
    """Places of columns by what they hold.

    Args:
        header: names of all columns.
        wanted: by what columns hold: the name that is set as ``data.<kind>_column``, or None.
        known: by the same, names in small letters that are taken where none is set.
        where: for messages.
        optional: what may be missing, if its name is not set; its place is None then.

    Raises:
        HashfedError: where one is missing.

    """
    found: dict[str, int | None] = {}
    small = [column.lower() for column in header]
    for kind, name in wanted.items():
        if name is not None:
            found[kind] = header.index(name) if name in header else None
        else:
            found[kind] = next((small.index(one) for one in known[kind] if one in small), None)
        if found[kind] is None and (kind != optional or name is not None):
            has = ", ".join(printable(brief(column, 40)) for column in header[:MOST_NAMES])
            looked = f"column {shown(name)}" if name is not None else f"column of the {kind}s"
            remedy = "" if name is not None else f" or set data.{kind}_column"
            raise HashfedError(f"{where}: no {looked}; it has {has} (name one {known[kind][0]}{remedy})")
    return found
