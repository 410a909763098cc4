"""Texts of made-up clients, and folders that are prepared from them."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from hashfed.data.client_texts import ClientTexts, Group
from hashfed.tasks.next_word.prepared.build import prepare
from hashfed.tasks.next_word.settings import TextSettings
from hashfed.tasks.next_word.task import NextWordSettings

LETTERS = "abcdefg"


def texts(clients: int = 30, seed: int = 0, groups: Sequence[Group | None] = (None,)) -> list[ClientTexts]:
    rng = np.random.default_rng(seed)

    def text() -> str:
        return " ".join(rng.choice(list(LETTERS), int(rng.integers(0, 9))))

    return [
        ClientTexts(
            f"c{number}", [text() for _ in range(int(rng.integers(1, 9)))], groups[number % len(groups)]
        )
        for number in range(clients)
    ]


def pieces(clients: Sequence[ClientTexts], seed: int = 1) -> list[ClientTexts]:
    """The same in pieces of one text, mixed between clients but not within one."""
    rng = np.random.default_rng(seed)
    left = {client.key: list(client.texts) for client in clients}
    found = []
    while left:
        key = list(left)[int(rng.integers(len(left)))]
        found.append(ClientTexts(key[1], [left[key].pop(0)], key[0]))
        if not left[key]:
            del left[key]
    return found


def data_settings(**more: object) -> NextWordSettings:
    return NextWordSettings(**{"source": "texts.jsonl", "vocabulary": 5, "sentence_length": 4, **more})  # type: ignore[arg-type]


def folder_settings(folder: Path) -> NextWordSettings:
    return NextWordSettings(source=str(folder))


def prepared(clients: Sequence[ClientTexts], data: TextSettings, folder: Path) -> None:
    prepare(lambda: iter(pieces(clients)), data, folder)
