"""FedJAX's SQLite files: a row for each client, a file for each split.

    federated_data(client_id BLOB PRIMARY KEY, data BLOB, num_examples INTEGER)

``data`` is MessagePack, compressed by zlib: arrays by the features' names. An array of bytes, such as
``tokens`` of Stack Overflow or ``snippets`` of Shakespeare, is an extension of type 4; one of numbers is of
type 1.
"""

import math
import zlib
from collections.abc import Iterator, Mapping
from typing import Any

from hashfed.data.client_texts import ClientTexts
from hashfed.data.splits import SplitFile
from hashfed.data.sqlite_files import opened
from hashfed.data.tables import KNOWN
from hashfed.data.text_files import control_problem
from hashfed.display import brief, printable, shown
from hashfed.errors import HashfedError

TABLE = "federated_data"
COLUMNS = ("client_id", "data", "num_examples")
NUMBERS, BYTES = 1, 4
"""Types of extensions: arrays of numbers, as (shape, type, bytes); of bytes, as (shape, list)."""
MOST_BYTES = 2**30
"""Of one client, uncompressed."""


class _FeatureError(ValueError):
    """A client's data are not what is due."""


def stream_fedjax(file: SplitFile, feature: str | None) -> Iterator[ClientTexts]:
    """The clients of a file, one by one.

    Args:
        file: with them.
        feature: the array with the texts; None: one of a usual name.

    Raises:
        HashfedError: where msgpack is missing, or the file is damaged or of another layout.

    """
    for name, data, count in _rows(file):
        where = f"{file.label}: client {printable(brief(name))}"
        try:
            features = _features(data, file.label)
            texts = _texts(features, text_feature(features, feature))
        except _FeatureError as error:
            raise HashfedError(f"{where}: {error}") from None
        if len(texts) != count:
            raise HashfedError(
                f"{where} has {len(texts):,} texts, but {shown(count)} by num_examples; damaged?"
            )
        yield ClientTexts(name, texts, file.group)


def first_feature(file: SplitFile, feature: str | None) -> str:
    """Which array holds the texts of the first client.

    Raises:
        HashfedError: as ``stream_fedjax``.

    """
    for _, data, _ in _rows(file):
        try:
            return text_feature(_features(data, file.label), feature)
        except _FeatureError as error:
            raise HashfedError(f"{file.label}: {error}") from None
    raise HashfedError(f"{file.label}: holds no client")


def text_feature(features: Mapping[str, Any], wanted: str | None) -> str:
    """The name of the array with the texts."""
    known = (wanted,) if wanted is not None else KNOWN["text"]
    found = next((name for name in known if name in features), None)
    if found is None:
        has = ", ".join(printable(brief(str(name), 40)) for name in list(features)[:8])
        looked = f"feature {shown(wanted)}" if wanted is not None else "feature with texts"
        raise _FeatureError(f"no {looked}; it has {has} (set data.text_column)")
    return found


def _rows(file: SplitFile) -> Iterator[tuple[str, bytes, object]]:
    with opened(file.path, file.label) as database:
        has = [row[1] for row in database.execute(f"PRAGMA table_info({TABLE})")]
        missing = next((column for column in COLUMNS if column not in has), None)
        if missing is not None:
            what = (
                f"its table {TABLE} has no column {missing}" if has else f"has no table {TABLE}, as FedJAX's"
            )
            raise HashfedError(f"{file.label}: {what}")
        for id, data, count in database.execute(f"SELECT {', '.join(COLUMNS)} FROM {TABLE} ORDER BY rowid"):
            yield _name(id, file.label), data, count


def _name(id: object, where: str) -> str:
    try:
        name = id.decode() if isinstance(id, bytes) else id
    except UnicodeDecodeError:
        name = None
    if not isinstance(name, str) or control_problem(name) is not None:
        raise HashfedError(f"{where}: the client_id {shown(id)} is no text")
    return name


def _features(data: object, where: str) -> Mapping[str, Any]:
    """The arrays of a client by name: of bytes as a list, of numbers as None."""
    try:
        import msgpack
    except ModuleNotFoundError:
        raise HashfedError(f"{where}: needs the package msgpack (pip install 'hashfed[fedjax]')") from None

    def extension(kind: int, content: bytes) -> list[Any] | None:
        if kind == NUMBERS:
            return None
        if kind != BYTES:
            raise ValueError(f"extension of type {kind}")
        shape, flat = msgpack.unpackb(content, raw=True)
        if len(shape) != 1 or math.prod(shape) != len(flat):
            raise ValueError(f"{len(flat)} values in an array of shape {shown(shape)}")
        return list(flat)

    try:
        if not isinstance(data, bytes):
            raise ValueError(f"{shown(data)} is not bytes")
        unpacking = zlib.decompressobj()
        content = unpacking.decompress(data, MOST_BYTES)
        if not unpacking.eof:
            raise ValueError(
                "cut off" if not unpacking.unconsumed_tail else f"more than {MOST_BYTES:,} bytes"
            )
        features = msgpack.unpackb(content, ext_hook=extension, raw=False)
        if not isinstance(features, dict):
            raise ValueError(f"{shown(features)} is no set of arrays by name")
    # Msgpack says of what is damaged many things, with exceptions of its own and of Python's.
    except (ValueError, TypeError, zlib.error, msgpack.exceptions.UnpackException) as error:
        problem = printable(brief(" ".join(str(error).split())))
        raise _FeatureError(f"its data are no arrays as FedJAX's, or damaged ({problem})") from None
    return features


def _texts(features: Mapping[str, Any], name: str) -> list[str]:
    values = features[name]
    if values is None:
        raise _FeatureError(
            f"feature {printable(brief(name))} holds numbers; ids without their vocabulary are not read: "
            "give the file with the texts"
        )
    if not isinstance(values, list):
        raise _FeatureError(f"feature {printable(brief(name))} is no array of texts")
    texts = []
    for number, value in enumerate(values, start=1):
        try:
            text = value.decode() if isinstance(value, bytes) else None
        except UnicodeDecodeError:
            text = None
        if text is None or "\0" in text:
            raise _FeatureError(f"example {number} is no text ({shown(value)})")
        texts.append(text)
    return texts
