"""Tables with a row for each text: its client, the text, and maybe what the client is for."""

import unicodedata
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from hashfed.data import saved_datasets, separated
from hashfed.data.client_texts import ClientTexts, Group, Key
from hashfed.data.columns import find_columns
from hashfed.data.parquet import parquet_rows
from hashfed.data.part import SPLITS
from hashfed.data.pieces import gather
from hashfed.data.splits import SplitFile
from hashfed.data.text_files import control_problem
from hashfed.display import shown
from hashfed.errors import HashfedError

KNOWN: dict[str, tuple[str, ...]] = {
    "client": ("client", "client_id", "clientid", "user", "user_id", "userid", "author"),
    "text": ("text", "texts", "tokens", "snippets", "sentence", "content", "body"),
}
"""Names of columns, in small letters, that are taken where none is set."""
SPLIT = "split"
"""The column that says what a client is for, as in JSON Lines."""
WORDS = "tokens"
"""The column, or feature, whose texts are cut into words already, as TensorFlow Federated has it."""
Wanted = Mapping[str, str | None]
"""Names of columns by ``client`` and ``text``, where they are set."""


class _Chosen:
    """The places of columns in a file's header; of the client's it may have none."""

    def __init__(self, wanted: Wanted, where: str, without_client: bool = False) -> None:
        self.has_client = True
        self._wanted, self._where, self._without = wanted, where, without_client

    def __call__(self, header: Sequence[str]) -> list[int]:
        found = find_columns(header, self._wanted, KNOWN, self._where, "client" if self._without else None)
        text, client = found["text"], found["client"]
        self.has_client = client is not None
        places = [place for place in (text, client) if place is not None]
        return [*places, *([header.index(SPLIT)] if SPLIT in header else [])]


def stream_parquet(file: SplitFile, wanted: Wanted) -> Iterator[ClientTexts]:
    """The clients of a Parquet file in pieces.

    Raises:
        HashfedError: where pyarrow is missing, or the file is damaged, lacks a column or has a wrong value.

    """
    rows = parquet_rows(file.path, file.label, _Chosen(wanted, file.label))
    named = ((f"{file.label}, row {number}", row) for number, row in enumerate(rows, start=1))
    return _stream(named, file)


def stream_separated(file: SplitFile, wanted: Wanted) -> Iterator[ClientTexts]:
    """The clients of a file of comma- or tab-separated values in pieces.

    Raises:
        HashfedError: where it is no such table, lacks a column or has a wrong value.

    """
    chosen = _Chosen(wanted, file.label)
    return _stream(separated.separated_rows(file.path, file.label, chosen), file)


def stream_saved(file: SplitFile, wanted: Wanted, client: str | None) -> Iterator[ClientTexts]:
    """The clients of a data set that ``datasets`` saved, in pieces.

    Args:
        file: its folder.
        wanted: columns.
        client: whose it is where it has no column of the clients; None: it must have one.

    Raises:
        HashfedError: where pyarrow is missing, or the data set is damaged, lacks a column or has a wrong
            value.

    """
    chosen = _Chosen(wanted, file.label, client is not None)

    def with_clients() -> Iterator[tuple[str, list[Any]]]:
        for where, row in saved_datasets.arrow_rows(file.path, file.label, chosen):
            yield where, row if chosen.has_client else [row[0], client, *row[1:]]

    return _stream(with_clients(), file)


def are_words(header: Sequence[str], wanted: Wanted, where: str) -> bool:
    """Whether the column of the texts is one of words, by its name.

    Raises:
        HashfedError: where there is no such column.

    """
    place = find_columns(header, wanted, KNOWN, where, "client")["text"]
    return place is not None and header[place].lower() == WORDS


def _stream(rows: Iterable[tuple[str, list[Any]]], file: SplitFile) -> Iterator[ClientTexts]:
    """Clients of rows, each with where it is: the text, the client, and what that is for if that is said."""

    def texts() -> Iterator[tuple[Key, str]]:
        for where, (text, client, *split) in rows:
            key = (_group(split[0], where) if split else file.group), _name(client, where)
            for one in _texts(text, where):
                yield key, one

    return gather(texts())


def _name(value: object, where: str) -> str:
    if not isinstance(value, str | int) or isinstance(value, bool) or value == "":
        raise HashfedError(f"{where}: client = {shown(value)}: must be a text or a whole number")
    name = str(value)
    problem = control_problem(name)
    if problem is not None:
        raise HashfedError(f"{where}: client = {shown(value)}: {problem}")
    return unicodedata.normalize("NFC", name)  # so that rows of one name stay in their order


def _texts(value: object, where: str) -> list[str]:
    """A text, or several; none where the value is missing."""
    values: list[Any] = value if isinstance(value, list) else [] if value is None else [value]
    for text in values:
        if not isinstance(text, str):
            raise HashfedError(f"{where}: text = {shown(text)}: must be a text, or a list of texts")
        if "\0" in text:
            raise HashfedError(f"{where}: text = {shown(text)}: {control_problem(text)}")
    return values


def _group(value: object, where: str) -> Group:
    if not isinstance(value, str) or value not in SPLITS:
        raise HashfedError(
            f"{where}: {SPLIT} = {shown(value)}: must be one of {', '.join(SPLITS)} (what the client is "
            "for); rename the column if it means something else"
        )
    return SPLITS[value]
