"""JSON Lines files of clients with their texts."""

import gzip
import json
import zlib
from collections import Counter
from collections.abc import Iterator
from difflib import get_close_matches
from functools import lru_cache
from pathlib import Path
from typing import Any

from hashfed.data.client_texts import ClientTexts, Group
from hashfed.data.left_out import LeftOut
from hashfed.data.part import SPLITS
from hashfed.data.text_files import control_problem, decoded_lines
from hashfed.display import brief, printable, shown
from hashfed.errors import HashfedError

FIELDS = ("client", "texts", "split")
LIKENESS, MOST_LETTERS = 0.8, 1
"""How like, and how much longer or shorter, a misspelt name of ours is: clinet is one, client_id is not."""

MOST_NAMES = 5
"""Other fields that a message names."""


class RepeatedNameError(ValueError):
    """An object has a name twice, and only one of the values could be read."""


def read_json_lines(path: Path, left_out: LeftOut) -> Iterator[ClientTexts]:
    """The clients of a ``.jsonl`` or ``.jsonl.gz`` file, line by line; counts fields that are not read.

    Raises:
        HashfedError: where the file is damaged, or a line is not what is due, naming the line.

    """
    number = 0
    packed = path.name.lower().endswith(".gz")
    try:
        with gzip.GzipFile(path) if packed else path.open("rb") as file:
            for number, line in enumerate(decoded_lines(file, path), start=1):
                if line.strip():
                    client = _parse_line(line, f"{path}, line {number}", left_out)
                    if not any(text.strip() for text in client.texts):
                        left_out.clients += 1
                    yield client
    except (FileNotFoundError, IsADirectoryError, PermissionError) as error:
        raise HashfedError(f"{path}: {error.strerror or error}") from None
    except (OSError, EOFError, zlib.error) as error:
        raise HashfedError(f"{path}: damaged after line {number} ({error})") from None


def _parse_line(line: str, where: str, left_out: LeftOut) -> ClientTexts:
    try:
        item = json.loads(line, object_pairs_hook=_object)
    except RepeatedNameError as error:
        raise HashfedError(f"{where}: {error}") from None
    except (ValueError, RecursionError) as error:
        raise HashfedError(f"{where}: not JSON ({brief(str(error))})") from None
    names = [name for name in item if name not in FIELDS] if isinstance(item, dict) else []
    for name in names:
        meant = _misspelt(name)
        if meant is not None:
            raise HashfedError(f'{where}: "{printable(brief(name))}": no such field; did you mean "{meant}"?')
    left_out.add_fields(names)
    if not isinstance(item, dict) or not isinstance(item.get("client"), str):
        has = ", ".join(f'"{printable(brief(name, 40))}"' for name in names[:MOST_NAMES])
        here = f"; it has {has}" if has else ""
        raise HashfedError(f'{where}: needs an object with "client", a string, and "texts", a list{here}')
    texts = item.get("texts")
    if not isinstance(texts, list) or not all(isinstance(text, str) for text in texts):
        client = shown(item["client"])
        raise HashfedError(f'{where}: "texts" of client {client} must be a list of strings')
    group: Group | None = None
    if "split" in item:
        if not isinstance(item["split"], str) or item["split"] not in SPLITS:
            raise HashfedError(
                f'{where}: "split" = {shown(item["split"])}: must be one of {", ".join(SPLITS)} '
                "(what the client is for); rename the field if it means something else"
            )
        group = SPLITS[item["split"]]
    if "\\u" not in line:  # only escapes bring control characters and halves of characters into JSON
        return ClientTexts(item["client"], texts, group)
    # A message may hold what a terminal left in it, which parts words there; NUL is in no text at all.
    for what, text in (("its name", item["client"]), *(("a text", text) for text in texts if "\0" in text)):
        problem = control_problem(text)
        if problem is not None:
            raise HashfedError(f"{where}: client {shown(item['client'])}: {what} {problem}; remove it")
    return ClientTexts(_well_formed(item["client"]), [_well_formed(text) for text in texts], group)


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        name, _ = Counter(name for name, _ in pairs).most_common(1)[0]
        raise RepeatedNameError(f'"{printable(brief(name))}" is there twice in one object')
    return found


@lru_cache(1000)
def _misspelt(name: str) -> str | None:
    """Which of our fields a name of another is taken for."""
    name = name.strip().lower()
    near = [field for field in FIELDS if abs(len(field) - len(name)) <= MOST_LETTERS]
    close = get_close_matches(name, near, n=1, cutoff=LIKENESS)
    return close[0] if close else None


def _well_formed(text: str) -> str:
    """Half surrogate pairs, as cut emoji leave them in dumps, become question marks: they have no UTF-8."""
    return text.encode("utf-8", "replace").decode("utf-8")
