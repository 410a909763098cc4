"""A file of interactions, whatever its format."""

from collections.abc import Mapping
from pathlib import Path
from typing import Literal, get_args

from hashfed.display import brief, printable
from hashfed.errors import HashfedError
from hashfed.tasks.next_item.log import History, Log
from hashfed.tasks.next_item.readers.inter import read_inter
from hashfed.tasks.next_item.readers.parquet import read_parquet
from hashfed.tasks.next_item.readers.separated import read_separated
from hashfed.tasks.next_item.readers.user_item import read_user_item
from hashfed.tasks.next_item.readers.user_items import read_user_items

Format = Literal["user-item", "user-items", "inter", "csv", "parquet"]
SUFFIXES: dict[str, Format] = {
    ".inter": "inter",
    ".csv": "csv",
    ".tsv": "csv",
    ".parquet": "parquet",
    ".txt": "user-item",
}
LONGEST_PATH = 400
"""Characters of a path in a message."""


def read_histories(
    source: str, setting: str, format: Format | None, wanted: Mapping[str, str | None]
) -> list[History]:
    """By user.

    Args:
        source: path of the file; all formats but Parquet may be compressed by gzip.
        setting: what messages call it.
        format: of the file; None: the name tells.
        wanted: names of columns by ``user``, ``item`` and ``time``, where they are set.

    Raises:
        HashfedError: where it cannot be read, naming file, line and value.

    """
    path, where = Path(source), f"{setting} = {printable(brief(source, LONGEST_PATH))}"
    try:
        is_file, is_folder = path.is_file(), path.is_dir()
    except (OSError, ValueError) as error:
        raise HashfedError(f"{where}: no usable path ({brief(str(error))})") from None
    if not is_file:
        raise HashfedError(
            f"{where}: {'a folder; must be a file' if is_folder else 'no such file'} of interactions"
        )
    kind, log = format or SUFFIXES.get(Path(path.name.lower().removesuffix(".gz")).suffix), Log()
    if kind is None:
        raise HashfedError(
            f"{where}: its name tells no format ({', '.join(SUFFIXES)}, or .gz after them); set data.format "
            f"({', '.join(get_args(Format))})"
        )
    if kind in ("user-item", "user-items"):
        named = next((name for name, column in wanted.items() if column is not None), None)
        if named is not None:
            raise HashfedError(
                f"data.{named}_column = {wanted[named]}: has no effect, format {kind} has no columns' names"
            )
        (read_user_item if kind == "user-item" else read_user_items)(path, where, log)
    else:
        {"inter": read_inter, "csv": read_separated, "parquet": read_parquet}[kind](path, where, wanted, log)
    if not len(log):
        raise HashfedError(f"{where}: holds no interaction")
    return log.histories()
