"""Data sets that have a name: a new one is one more function here."""

import importlib.resources
import json
import re
from collections.abc import Callable

from hashfed.data.client_texts import ClientTexts
from hashfed.errors import HashfedError

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
