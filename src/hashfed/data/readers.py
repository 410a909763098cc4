"""Whole clients, or those of them that are needed."""

import unicodedata
import warnings
from collections.abc import Iterable, Mapping

from hashfed.data.client_texts import ClientTexts, Key
from hashfed.data.formats import Format
from hashfed.data.left_out import LeftOut
from hashfed.data.named import NAMED
from hashfed.data.part import Part, check_stated, needed
from hashfed.data.streams import NO_COLUMNS, check_columns, located, said, stream_texts
from hashfed.data.tff import read_tff
from hashfed.errors import HashfedError, HashfedWarning


def read_texts(
    source: str,
    setting: str = "data.source",
    part: Part | None = None,
    format: Format | None = None,
    columns: Mapping[str, str | None] = NO_COLUMNS,
) -> list[ClientTexts]:
    """Clients of a named data set, a file or a folder of texts, in memory.

    What is not read of a source that is read (files of other kinds, fields of other names) is told by one
    ``HashfedWarning``.

    Args:
        source: a name in ``NAMED``, or the path of a file or folder (docs/data.md).
        setting: what messages call the source.
        part: what is needed of it; None: all.
        format: of it; None: its name and content tell.
        columns: names by ``client`` and ``text``, where they are set.

    Raises:
        HashfedError: where the source is missing, damaged or empty, naming file and line.

    """
    left_out, where = LeftOut(), said(source, setting)
    part = part or Part()
    path, kind = (None, format) if source in NAMED else located(source, where, format)
    if path is not None and kind == "tff":
        check_columns(kind, columns)
        clients = merge_clients(read_tff(path, part, where), where)
    else:
        clients = merge_clients(stream_texts(source, setting, kind, left_out, columns), where)
    if part.is_bounded:
        wanted = needed([item.key for item in clients], part)
        clients = [item for item in clients if item.key in wanted]
    if not clients:
        raise HashfedError(
            f"{where}: holds no client with a text" + (f" ({left_out})" if str(left_out) else "")
        )
    if str(left_out):
        warnings.warn(f"{where}: {left_out}", HashfedWarning, stacklevel=2)
    return clients


def merge_clients(clients: Iterable[ClientTexts], where: str = "data.source") -> list[ClientTexts]:
    """Clients of one name and group joined in order, those without texts left out.

    Names are compared, and kept, in Unicode's NFC: macOS writes the ``é`` of a file name as two characters.

    Raises:
        HashfedError: where the group of some is stated and of others not.

    """
    merged: dict[Key, list[str]] = {}
    for item in clients:
        if item.texts:
            merged.setdefault((item.group, unicodedata.normalize("NFC", item.client)), []).extend(item.texts)
    check_stated(merged, where)
    return [ClientTexts(client, texts, group) for (group, client), texts in merged.items()]
