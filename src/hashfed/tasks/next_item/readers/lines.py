"""Lines of text files of interactions."""

from collections.abc import Iterator
from pathlib import Path

from hashfed.data.text_files import byte_lines
from hashfed.display import shown
from hashfed.errors import HashfedError

MOST_NAME = 1000
"""Characters of a user's or an item's name."""


def text_lines(path: Path, where: str) -> Iterator[tuple[str, str]]:
    """Lines that are not empty, each with where it is; compressed by gzip or not.

    Raises:
        HashfedError: where the file cannot be read, or a line is no text.

    """
    for number, line in enumerate(byte_lines(path, where), start=1):
        here = f"{where}, line {number}"
        try:
            text = line.decode("utf-8-sig" if number == 1 else "utf-8")
        except UnicodeDecodeError:
            raise HashfedError(f"{here}: {shown(line)}: must be UTF-8 text") from None
        if text.strip():
            yield text, here


def checked(kind: str, name: str, where: str) -> str:
    """A user's or an item's name.

    Raises:
        HashfedError: where it is empty, too long, or not printable.

    """
    if not name or len(name) > MOST_NAME or not name.isprintable():
        raise HashfedError(
            f"{where}: {kind} = {shown(name)}: must be a name of 1 to {MOST_NAME} printable characters"
        )
    return name
