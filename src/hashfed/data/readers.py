"""Readers: anything that yields clients with their texts. A new data set is one more function here."""

import importlib.resources
import json
import os
import re
import unicodedata
import warnings
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from hashfed.data.client_texts import ClientTexts, Key
from hashfed.data.folders import JSON_LINES, TEXT, find_files
from hashfed.data.json_lines import read_json_lines
from hashfed.data.left_out import LeftOut
from hashfed.data.part import Part, check_stated, needed
from hashfed.data.text_files import read_lines
from hashfed.data.tff import is_tff, read_tff
from hashfed.display import brief, printable
from hashfed.errors import HashfedError, HashfedWarning

LONGEST_PATH = 400
"""Characters of a path in a message."""


def read_texts(source: str, setting: str = "data.source", part: Part | None = None) -> list[ClientTexts]:
    """Clients of a named data set, a JSON Lines file, a folder, or a file of TensorFlow Federated.

    What is not read of a source that is read (files of other kinds, fields of other names) is told by one
    ``HashfedWarning``.

    Args:
        source: a name in ``NAMED``; a path to ``.jsonl`` or ``.jsonl.gz`` with one object
            ``{"client": str, "texts": [str, ...]}`` per line; a folder, in which every ``.txt`` file
            is a client (named by its path, one text per line) and every JSON Lines file is read
            (``find_files`` says which are passed over); or what ``read_tff`` reads.
        setting: what messages call the source.
        part: what is needed of it; None: all.

    Raises:
        HashfedError: where the source is missing, damaged or empty, naming file and line.

    """
    left_out, where = LeftOut(), f"{setting} = {printable(brief(source, LONGEST_PATH))}"
    part = part or Part()
    if source in NAMED:
        clients = NAMED[source]()
    else:
        path = Path(source)
        try:
            exists, is_folder = path.exists(), path.is_dir()
        except (OSError, ValueError) as error:
            raise HashfedError(f"{where}: no usable path ({brief(str(error))})") from None
        if not source or not exists:
            raise HashfedError(f"{where}: no such file or folder, nor one of: {', '.join(NAMED)}")
        if not is_folder and path.name.lower().endswith(TEXT):
            raise HashfedError(f"{where}: a single text file; give the folder it is in, or JSON Lines")
        if is_tff(source):
            clients = read_tff(path, part, where)
        else:
            clients = list(_read_folder(path, left_out) if is_folder else read_json_lines(path, left_out))
    clients = merge_clients(clients, where)
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


_EMAIL = re.compile(r"[\w.+-]+@[\w-]+\.[\w.]+")


def read_chitchat() -> list[ClientTexts]:
    """The Chit-Chat Challenge (BYU, 2018; MIT): 1,315 people's messages, by sender in time order.

    Needs the package ``chitchat-dataset``; of it only the JSON file is read.
    """
    try:
        file = importlib.resources.files("chitchat_dataset") / "dataset.json"
    except ModuleNotFoundError:
        raise HashfedError(
            "data.source = chitchat: needs the package chitchat-dataset (pip install 'hashfed[chitchat]')"
        ) from None
    conversations = json.loads(file.read_text(encoding="utf-8"))
    messages = [
        (message["timestamp"], message["sender"], message["text"])
        for conversation in conversations.values()
        for turn in conversation["messages"]
        for message in turn
        if message["text"].strip()
    ]
    messages.sort(key=lambda message: message[0])
    texts: dict[str, list[str]] = {}
    for _, sender, text in messages:
        texts.setdefault(sender, []).append(_EMAIL.sub("<email>", text))
    return [ClientTexts(sender, texts[sender]) for sender in texts]


NAMED: dict[str, Callable[[], list[ClientTexts]]] = {"chitchat": read_chitchat}
"""Data sets by name."""


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
