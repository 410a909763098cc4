"""The texts of a source of any format, as a stream that does not grow with the source."""

import os
import unicodedata
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePath

from hashfed.data import saved_datasets, tables
from hashfed.data.client_texts import ClientTexts
from hashfed.data.flute_hdf5 import stream_flute_hdf5
from hashfed.data.folders import JSON_LINES, TEXT, find_files
from hashfed.data.formats import HDF5, SUFFIXES, Format, recognise
from hashfed.data.json_lines import read_json_lines
from hashfed.data.leaf import has_words, stream_leaf
from hashfed.data.left_out import LeftOut
from hashfed.data.named import NAMED
from hashfed.data.parquet import parquet_header
from hashfed.data.part import check_stated
from hashfed.data.pfl import stream_pfl
from hashfed.data.pieces import cut
from hashfed.data.separated import separated_header
from hashfed.data.splits import SplitFile, alone, split_files, stated_group
from hashfed.data.text_files import read_lines
from hashfed.data.tff import stream_tff
from hashfed.display import brief, printable, shown
from hashfed.errors import HashfedError

LONGEST_PATH = 400
"""Characters of a path in a message."""
NO_COLUMNS: Mapping[str, str | None] = {"client": None, "text": None}
"""Names of columns by what they hold, where none is set."""
WITH_COLUMNS: dict[Format, tuple[str, ...]] = {
    "fedjax": ("text",),
    "datasets": ("client", "text"),
    "parquet": ("client", "text"),
    "csv": ("client", "text"),
}
"""Formats with columns whose names may be set."""


def stream_texts(
    source: str,
    setting: str,
    format: Format | None,
    left_out: LeftOut,
    columns: Mapping[str, str | None] = NO_COLUMNS,
) -> Iterator[ClientTexts]:
    """The clients of a source as pieces, in the source's order.

    Pieces of one ``key`` are one client's, whose texts are those of its pieces in order; they need not
    follow each other. A piece has at most a few thousand texts, and may have none. Names are in Unicode's
    NFC. Only what is read to the end is known to be whole: of some formats a client that lacks texts is
    found last.

    Args:
        source: a name in ``NAMED``, or the path of a file or a folder (docs/data.md).
        setting: what messages call the source.
        format: of it; None: its name and content tell.
        left_out: counts what is not read.
        columns: names by ``client`` and ``text``, where they are set.

    Raises:
        HashfedError: where the source is missing, damaged, of another format, or states the split of some
            clients only, in one line that names file and place; when it is read there.

    """
    where = said(source, setting)
    stated: ClientTexts | None = None
    other: ClientTexts | None = None
    for client in _clients(source, where, format, left_out, columns):
        if client.texts and client.group is not None:
            stated = stated or client
        elif client.texts:
            other = other or client
        if stated is not None and other is not None:
            check_stated([stated.key, other.key], where)
        if not client.client.isascii():
            name = unicodedata.normalize("NFC", client.client)
            client = ClientTexts(name, client.texts, client.group)
        yield from cut(client)


def said(source: str, setting: str) -> str:
    """What messages call a source."""
    return f"{setting} = {printable(brief(source, LONGEST_PATH))}"


def located(source: str, where: str, format: Format | None = None) -> tuple[Path, Format]:
    """The path of a source that is no name, and its format.

    Raises:
        HashfedError: where there is nothing, or what cannot be a source of the format.

    """
    path = Path(source)
    try:
        exists, is_folder = path.exists(), path.is_dir()
    except (OSError, ValueError) as error:
        raise HashfedError(f"{where}: no usable path ({brief(str(error))})") from None
    if not source or not exists:
        raise HashfedError(f"{where}: no such file or folder, nor one of: {', '.join(NAMED)}")
    if format is None and not is_folder and path.name.lower().endswith(TEXT):
        raise HashfedError(f"{where}: a single text file; give the folder it is in, or JSON Lines")
    kind = format or recognise(path)
    if is_folder and kind in ("json-lines", "pfl"):
        raise HashfedError(f"data.format = {kind}: {path} is a folder; must be a file")
    if not is_folder and kind in ("texts", "datasets"):
        raise HashfedError(f"data.format = {kind}: {path} is a file; must be a folder")
    return path, kind


def check_columns(kind: Format | None, columns: Mapping[str, str | None]) -> None:
    """Whether a source of a format, or with a name, may have columns whose names are set.

    Raises:
        HashfedError: where it may not.

    """
    for what, name in columns.items():
        if name is not None and (kind is None or what not in WITH_COLUMNS.get(kind, ())):
            of = "a named data set" if kind is None else f"format {kind}"
            raise HashfedError(
                f"data.{what}_column = {shown(name)}: has no effect, {of} has no column of the {what}s"
            )


def are_words(source: str, kind: Format, columns: Mapping[str, str | None]) -> bool:
    """Whether the texts of a path are cut into words already, as far as its beginning tells.

    False where it cannot be read, which is said when it is.
    """
    if kind in ("tff", "pfl", "flute"):
        return True
    if kind in ("json-lines", "texts"):
        return False
    try:
        files = _files(Path(source), kind, LeftOut())
        return bool(files) and _has_words(files[0], kind, columns)
    except HashfedError:
        return False


def _has_words(file: SplitFile, kind: Format, columns: Mapping[str, str | None]) -> bool:
    if kind == "leaf":
        return has_words(file)
    if kind == "fedjax":
        from hashfed.data.fedjax import first_feature

        return first_feature(file, columns["text"]) == tables.WORDS
    if kind == "datasets":
        header = saved_datasets.arrow_header(file.path, file.label)
    else:
        header = (parquet_header if kind == "parquet" else separated_header)(file.path, file.label)
    return tables.are_words(header, columns, file.label)


def _clients(
    source: str,
    where: str,
    format: Format | None,
    left_out: LeftOut,
    columns: Mapping[str, str | None],
) -> Iterator[ClientTexts]:
    if source in NAMED:
        if format is not None:
            raise HashfedError(f"data.format = {format}: has no effect, {source} is a named data set")
        check_columns(None, columns)
        yield from NAMED[source]()
        return
    path, kind = located(source, where, format)
    check_columns(kind, columns)
    if kind == "json-lines":
        yield from read_json_lines(path, left_out)
    elif kind == "texts":
        yield from _read_folder(path, left_out)
    elif kind == "tff":
        yield from stream_tff(path, where)
    elif kind == "pfl":
        yield from stream_pfl(alone(path))
    else:
        for file in _files(path, kind, left_out):
            yield from _read(file, kind, path, columns)


def _read(
    file: SplitFile, kind: Format, source: Path, columns: Mapping[str, str | None]
) -> Iterator[ClientTexts]:
    """The clients of one of the files of a source."""
    if kind == "fedjax":
        from hashfed.data.fedjax import stream_fedjax  # whose library others need not load

        return stream_fedjax(file, columns["text"])
    if kind == "flute" and file.path.name.lower().endswith(HDF5):
        return stream_flute_hdf5(file)
    if kind in ("leaf", "flute"):
        return stream_leaf(file)
    if kind == "parquet":
        return tables.stream_parquet(file, columns)
    if kind == "csv":
        return tables.stream_separated(file, columns)
    return tables.stream_saved(file, columns, _partition(file, source))


def _files(path: Path, kind: Format, left_out: LeftOut) -> list[SplitFile]:
    """The files, of ``datasets`` the folders, of a source, with the groups that their names state."""
    if not path.is_dir():
        return [alone(path)]
    if kind == "datasets":
        return split_files(path, saved_datasets.data_sets(path))
    found, left_out.files = find_files(path, SUFFIXES[kind])
    return split_files(path, found)


def _partition(file: SplitFile, source: Path) -> str | None:
    """Whose a saved data set without a column of clients is: its folder's name, without that of its split."""
    parts = file.path.relative_to(source).parts
    if file.group is not None:
        parts = tuple(part for part in parts if stated_group(PurePath(part)) is None)
    return "/".join(parts) or None


def _read_folder(folder: Path, left_out: LeftOut) -> Iterator[ClientTexts]:
    files, left_out.files = find_files(folder)
    for path in files:
        if path.name.lower().endswith(JSON_LINES):
            yield from read_json_lines(path, left_out)
            continue
        texts = [line for line in read_lines(path) if line.strip()]
        if not texts:
            left_out.files["without a text"] += 1
        name = path.relative_to(folder).with_suffix("").as_posix()
        # A name that is not UTF-8 stays apart from others.
        yield ClientTexts(os.fsencode(name).decode("utf-8", "backslashreplace"), texts)
