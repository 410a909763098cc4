"""Clients' texts in pieces, so that nobody needs to hold a client whose texts are many."""

from collections.abc import Iterable, Iterator

from hashfed.data.client_texts import ClientTexts, Key

MOST_TEXTS = 4096
"""Of a piece."""
MOST_HELD, MOST_CHARACTERS = 2**16, 2**24
"""Texts, and characters of them, that wait for others of their clients."""


def cut(client: ClientTexts) -> Iterator[ClientTexts]:
    """The same texts in pieces; one without any where there are none."""
    if len(client.texts) <= MOST_TEXTS:
        yield client
        return
    for start in range(0, len(client.texts), MOST_TEXTS):
        yield ClientTexts(client.client, client.texts[start : start + MOST_TEXTS], client.group)


def gather(rows: Iterable[tuple[Key, str]]) -> Iterator[ClientTexts]:
    """Texts that come one by one, clients in turn, as pieces with as many of a client as wait together."""
    held: dict[Key, list[str]] = {}
    texts = characters = 0
    for key, text in rows:
        held.setdefault(key, []).append(text)
        texts += 1
        characters += len(text)
        if texts == MOST_HELD or characters >= MOST_CHARACTERS:
            yield from _pieces(held)
            held, texts, characters = {}, 0, 0
    yield from _pieces(held)


def _pieces(held: dict[Key, list[str]]) -> Iterator[ClientTexts]:
    for (group, client), texts in held.items():
        yield ClientTexts(client, texts, group)
