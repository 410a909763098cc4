"""Readers: anything that yields clients with their texts. A new data set is one more function here."""

import gzip
import importlib.resources
import json
import re
import unicodedata
import zlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from hashfed.errors import HashfedError


@dataclass(frozen=True)
class ClientTexts:
    """One client's texts, oldest first."""

    client: str
    texts: list[str]


def read_texts(source: str) -> list[ClientTexts]:
    """Clients of a named data set, a JSON Lines file or a folder.

    Args:
        source: a name in ``NAMED``; a path to ``.jsonl`` or ``.jsonl.gz`` with one object
            ``{"client": str, "texts": [str, ...]}`` per line; or a folder, in which every ``.txt`` file
            is a client (named by its path, one text per line) and every JSON Lines file is read.

    Raises:
        HashfedError: where the source is missing, damaged or empty, naming file and line.

    """
    if source in NAMED:
        clients = NAMED[source]()
    else:
        path = Path(source)
        try:
            exists, is_folder = path.exists(), path.is_dir()
        except (OSError, ValueError) as error:
            raise HashfedError(f"data.source = {source}: no usable path ({error})") from None
        if not source or not exists:
            names = ", ".join(NAMED)
            raise HashfedError(f"data.source = {source}: no such file or folder, nor one of: {names}")
        clients = list(_read_folder(path) if is_folder else _read_jsonl(path))
    clients = merge_clients(clients)
    if not clients:
        raise HashfedError(f"data.source = {source}: holds no client with a text")
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


def _read_folder(folder: Path) -> Iterator[ClientTexts]:
    for path in sorted(folder.rglob("*")):
        if path.name.endswith((".jsonl", ".jsonl.gz")):
            yield from _read_jsonl(path)
        elif path.suffix == ".txt":
            try:
                lines = path.read_text(encoding="utf-8-sig").splitlines()
            except UnicodeDecodeError as error:
                raise HashfedError(f"{path}: not UTF-8 text (byte {error.start})") from None
            except OSError as error:
                raise HashfedError(f"{path}: {error.strerror or error}") from None
            name = path.relative_to(folder).with_suffix("").as_posix()
            yield ClientTexts(_well_formed(name), [line for line in lines if line.strip()])


def _read_jsonl(path: Path) -> Iterator[ClientTexts]:
    number = 0
    try:
        with gzip.open(path, "rb") if path.suffix == ".gz" else path.open("rb") as file:
            for number, line in enumerate(file, start=1):
                if line.strip():
                    yield _parse_line(line, f"{path}, line {number}")
    except (OSError, EOFError, zlib.error) as error:
        raise HashfedError(f"{path}: damaged after line {number} ({error})") from None


def _parse_line(line: bytes, where: str) -> ClientTexts:
    try:
        item = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise HashfedError(f"{where}: not JSON ({error})") from None
    if not isinstance(item, dict) or not isinstance(item.get("client"), str):
        raise HashfedError(f'{where}: needs an object with "client", a string, and "texts", a list')
    texts = item.get("texts")
    if not isinstance(texts, list) or not all(isinstance(text, str) for text in texts):
        raise HashfedError(f'{where}: "texts" of client {item["client"]!r} must be a list of strings')
    return ClientTexts(_well_formed(item["client"]), [_well_formed(text) for text in texts])


def _well_formed(text: str) -> str:
    """Half surrogate pairs, as cut emoji leave them in dumps, become question marks: they have no UTF-8."""
    return text.encode("utf-8", "replace").decode("utf-8")
