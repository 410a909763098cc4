"""``prepared.json``: what a prepared folder holds, written last; a folder without it is none."""

import json
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from hashfed.display import brief, printable, shown
from hashfed.errors import HashfedError
from hashfed.tasks.next_word.prepared.columns import SUFFIX, map_column

NAME = "prepared.json"
VOCABULARY = "vocabulary.json"
VERSION: Literal[1] = 1
COLUMNS = {
    "tokens": ("<u2", "<i4"),
    "sentence-ends": ("<i8",),
    "client-ends": ("<i8",),
    "roles": ("|u1",),
    "name-ends": ("<i8",),
    "names": ("|u1",),
    "counts-test": ("<i8",),
    "counts-validation": ("<i8",),
}
"""Types by column; ``layout`` says what each is."""
FIXED = (
    "vocabulary",
    "sentence_length",
    "tokens_per_client",
    "sentences_per_client",
    "long_texts",
    "tokenizer",
    "clients",
    "held_out_clients",
)
"""Settings of the data that a folder was prepared with; a run takes them from it."""
OF_SOURCES = ("word_counts", "format", "client_column", "text_column")
"""Settings that say how to read a source, and have no effect with a folder that was made of it."""
Side = Literal["test", "validation"]
SIDES: tuple[Side, ...] = ("test", "validation")
"""Whom a run may evaluate on."""


class Column(BaseModel):
    """Of one file."""

    model_config = ConfigDict(strict=True, extra="forbid")

    dtype: str
    count: Annotated[int, Field(ge=0)]
    sha256: str


class Facts(BaseModel):
    """What was measured of the clients of a run (``federated_data.Measured``)."""

    model_config = ConfigDict(strict=True, extra="forbid")

    sizes: dict[str, int]
    own_rows: dict[str, dict[str, int | float]]
    floors: dict[str, int | float]
    sha256: str


class Manifest(BaseModel):
    """What the file holds."""

    model_config = ConfigDict(strict=True, extra="forbid")

    version: Literal[1]
    """Of the layout."""
    source: str
    """What it was made of, for people."""
    settings: dict[str, int | str | None]
    """Those in ``FIXED``."""
    stated: bool
    """Whether the source says what clients are for; else their names decide."""
    clients: Annotated[int, Field(ge=0)]
    """All that the source has, also those that no run needs."""
    sentences: Annotated[int, Field(ge=0)]
    columns: dict[str, Column]
    facts: dict[str, Facts]
    """By whom a run evaluates on: sizes, own rows, floors and checksum."""
    problems: dict[str, str]
    """Why there are none, of sides that no run can evaluate on."""
    vocabulary_sha256: str


def is_prepared(source: str) -> bool:
    """Whether a source is a prepared folder."""
    try:
        return (Path(source) / NAME).is_file()
    except (OSError, ValueError):
        return False  # no usable path, which its reader says


def read_manifest(folder: Path, setting: str = "data.source") -> Manifest:
    """What the folder says of itself.

    Raises:
        HashfedError: where it is damaged, or of another version.

    """
    path = folder / NAME
    where = f"{setting} = {printable(str(folder))}"
    try:
        text = path.read_text(encoding="utf-8")
        tree = json.loads(text)
    except OSError as error:
        raise HashfedError(f"{where}: {NAME} cannot be read ({error.strerror or error})") from None
    except (ValueError, RecursionError) as error:
        raise HashfedError(f"{where}: {NAME} is damaged ({brief(str(error))})") from None
    if isinstance(tree, dict) and tree.get("version") != VERSION:
        raise HashfedError(
            f"{where}: prepared in layout {shown(tree.get('version'))}, this hashfed reads {VERSION}; "
            "prepare it anew (hashfed data prepare)"
        )
    try:
        found = Manifest.model_validate_json(text)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"])) or "all"
        raise HashfedError(f"{where}: {NAME} is damaged ({place}: {brief(first['msg'])})") from None
    if set(found.columns) != set(COLUMNS) or set(found.settings) != set(FIXED):
        raise HashfedError(f"{where}: {NAME} is damaged (columns or settings are missing)")
    return found


def defaults(source: str) -> dict[str, Any]:
    """Settings that a run takes from the folder where they are not given; none where it is damaged."""
    try:
        return dict(read_manifest(Path(source)).settings)
    except HashfedError:
        return {}  # which whoever loads it says


def check_columns(folder: Path, manifest: Manifest) -> None:
    """That every column is there in its length and type; the numbers themselves are not read.

    Raises:
        HashfedError: naming the file.

    """
    for name, column in manifest.columns.items():
        found = map_column(folder / f"{name}{SUFFIX}")
        if found.dtype.str != column.dtype or found.dtype.str not in COLUMNS[name]:
            raise HashfedError(f"{folder / name}{SUFFIX}: damaged (of type {found.dtype})")
        if len(found) != column.count:
            raise HashfedError(
                f"{folder / name}{SUFFIX}: damaged ({len(found):,} numbers, {column.count:,} by {NAME})"
            )
