"""SQLite files, which are only read."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from hashfed.display import brief, printable
from hashfed.errors import HashfedError

DAMAGED = sqlite3.Error, sqlite3.Warning, UnicodeDecodeError
"""SQLite's messages quote what is damaged, and where that is no text sqlite3 cannot say them."""


@contextmanager
def opened(path: Path, name: Path | str) -> Iterator[sqlite3.Connection]:
    """The file's content, within a block that only reads it.

    Raises:
        HashfedError: beginning with ``name``, where the file is none, damaged, or locked by another process.

    """
    try:
        with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)) as database:
            database.execute("PRAGMA trusted_schema = OFF")
            yield database
    except DAMAGED as error:
        problem = printable(brief(" ".join(str(error).split())))
        if getattr(error, "sqlite_errorcode", 0) & 0xFF == sqlite3.SQLITE_BUSY:  # lower byte: the kind
            raise HashfedError(f"{name}: in use, another process writes it ({problem})") from None
        raise HashfedError(f"{name}: not an SQLite file, or damaged ({problem})") from None


def has_table(path: Path, table: str) -> bool:
    """Whether a file is one of SQLite with such a table; false where it cannot be read."""
    try:
        with opened(path, path) as database:
            return bool(database.execute(f"PRAGMA table_info({table})").fetchall())
    except HashfedError:
        return False
