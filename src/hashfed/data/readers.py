"""Readers: anything that yields clients with their texts. A new data set is one more function here."""

import importlib.resources
import json
import os
import re
import unicodedata
import warnings
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from hashfed.data.client_texts import ClientTexts
from hashfed.data.folders import JSON_LINES, TEXT, find_files
from hashfed.data.json_lines import read_json_lines
from hashfed.data.left_out import LeftOut
from hashfed.data.text_files import read_lines
from hashfed.display import brief, printable
from hashfed.errors import HashfedError, HashfedWarning

LONGEST_PATH = 400
"""Characters of a path in a message."""


def read_texts(source: str, setting: str = "data.source") -> list[ClientTexts]:
    """Clients of a named data set, a JSON Lines file or a folder.

    What is not read of a source that is read (files of other kinds, fields of other names) is told by one
    ``HashfedWarning``.

    Args:
        source: a name in ``NAMED``; a path to ``.jsonl`` or ``.jsonl.gz`` with one object
            ``{"client": str, "texts": [str, ...]}`` per line; or a folder, in which every ``.txt`` file
            is a client (named by its path, one text per line) and every JSON Lines file is read
            (``find_files`` says which are passed over).
        setting: what messages call the source.

    Raises:
        HashfedError: where the source is missing, damaged or empty, naming file and line.

    """
    left_out, where = LeftOut(), f"{setting} = {printable(brief(source, LONGEST_PATH))}"
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
        clients = list(_read_folder(path, left_out) if is_folder else read_json_lines(path, left_out))
    clients = merge_clients(clients)
    if not clients:
        raise HashfedError(
            f"{where}: holds no client with a text" + (f" ({left_out})" if str(left_out) else "")
        )
    if str(left_out):
        warnings.warn(f"{where}: {left_out}", HashfedWarning, stacklevel=2)
    return clients


def merge_clients(clients: Iterable[ClientTexts]) -> list[ClientTexts]:
    """Clients of one name joined in order, those without texts left out.

    Names are compared, and kept, in Unicode's NFC: macOS writes the ``é`` of a file name as two characters.
    """
    merged: dict[str, list[str]] = {}
    for item in clients:
        if item.texts:
            merged.setdefault(unicodedata.normalize("NFC", item.client), []).extend(item.texts)
    return [ClientTexts(client, texts) for client, texts in merged.items()]


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
