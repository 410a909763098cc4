"""Small files of one value a line."""

from pathlib import Path

from hashfed.data.text_files import byte_lines
from hashfed.display import shown
from hashfed.errors import HashfedError


def quoted(data: bytes) -> str:
    """What a file holds, for a message."""
    return shown(data.decode(errors="replace"))


def read_values(path: Path, count: int, setting: str, of: str) -> tuple[str, ...]:
    """One text a line, such as the client of each example; spaces around are no part of it.

    Args:
        path: of the file.
        count: lines that it must have.
        setting: what messages call it.
        of: what each line is about.

    Raises:
        HashfedError: where it cannot be read, a line is empty or no text, or there are more or fewer.

    """
    where, found = f"{setting} = {path}", list[str]()
    for number, line in enumerate(byte_lines(path, where), start=1):
        try:
            text = line.decode().strip()
        except UnicodeDecodeError:
            raise HashfedError(f"{where}, line {number}: {quoted(line)}: must be UTF-8 text") from None
        if number > count:
            if text:
                raise HashfedError(
                    f"{where}, line {number}: {shown(text)}: must have {count:,} lines, one for each {of}"
                )
            continue
        if not text or not text.isprintable():
            raise HashfedError(f"{where}, line {number}: {shown(text)}: must be a text, for each {of}")
        found.append(text)
    if len(found) < count:
        raise HashfedError(f"{where}: {len(found):,} lines: must have {count:,}, one for each {of}")
    return tuple(found)
