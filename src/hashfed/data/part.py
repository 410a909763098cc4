"""Who trains and who is evaluated on, and what of a source is needed for that."""

import hashlib
import heapq
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Literal

from hashfed.data.client_texts import Group, Key
from hashfed.data.tokenizer import TOKENIZERS, TokenizerName
from hashfed.display import shown
from hashfed.errors import HashfedError

SPLITS: dict[str, Group] = {
    "train": "train",
    "validation": "validation",
    "heldout": "validation",
    "held_out": "validation",
    "test": "test",
}
"""Groups by the names that sources have for them; the heldout clients of TFF's files choose settings."""


@dataclass(frozen=True)
class Part:
    """What of a source is needed; by default all of it.

    Attributes:
        clients: at most so many training clients.
        held_out_clients: at most so many that are evaluated on.
        held_out: which those are; None: nobody is chosen, and all clients are needed.
        vocabulary: whether words are counted, so that those whose words are known are needed too.
        tokens: at most so many words of one client: whole texts, in order.
        sentences: at most so many texts with a word.
        tokenizer: what a word is.

    A reader may give more than that: more clients, and more of a client's texts.

    """

    clients: int | None = None
    held_out_clients: int | None = None
    held_out: Literal["validation", "test"] | None = None
    vocabulary: bool = True
    tokens: int | None = None
    sentences: int | None = None
    tokenizer: TokenizerName = "unicode"

    @property
    def is_bounded(self) -> bool:
        """Whether clients are chosen by their number."""
        return self.clients is not None or self.held_out_clients is not None


class Taken:
    """The texts of one client, as far as a ``Part`` needs them."""

    def __init__(self, part: Part) -> None:
        self.texts: list[str] = []
        self.full = False
        """Whether no further text is needed."""
        self._part = part
        self._words_of = TOKENIZERS[part.tokenizer]
        self._words = 0
        self._sentences = 0

    def add(self, text: str) -> None:
        """Take the next text."""
        self.texts.append(text)
        part = self._part
        if part.tokens is None and part.sentences is None:
            return
        words = len(self._words_of(text))
        self._words += words
        self._sentences += words > 0
        self.full = (part.tokens is not None and self._words >= part.tokens) or (
            part.sentences is not None and self._sentences >= part.sentences
        )


def check_stated(keys: Iterable[Key], where: str = "data.source") -> bool:
    """Whether a source states what its clients are for.

    Raises:
        HashfedError: where it does so of some and not of others.

    """
    some = {group is None: name for group, name in keys}
    if len(some) > 1:
        raise HashfedError(
            f"{where}: the split of client {shown(some[False])} is stated, but not that of "
            f"{shown(some[True])}; state it for all or for none"
        )
    return False in some


@dataclass(frozen=True)
class Chosen:
    """Clients by what they are for; one may be for several things.

    Attributes:
        train: those that may be drawn into a cohort.
        held_out: those that are evaluated on.
        vocabulary: those whose words are counted: the same whoever is evaluated on.

    """

    train: frozenset[Key]
    held_out: frozenset[Key]
    vocabulary: frozenset[Key]


def group_of(client: str) -> Group:
    """The fixed split by name: one client in five is a test client, another a validation client."""
    remainder = int(hashlib.md5(client.encode(), usedforsecurity=False).hexdigest(), 16) % 5
    return "test" if remainder == 0 else "validation" if remainder == 1 else "train"


def group(key: Key) -> Group:
    """The group that is stated, else that of the name."""
    stated, name = key
    return stated or group_of(name)


def is_train(key: Key, held_out: Literal["validation", "test"]) -> bool:
    """Whether a client trains: stated groups are kept; by name, validation clients train until the end."""
    return group(key) == "train" or (key[0] is None and group(key) == "validation" != held_out)


def choose(
    keys: Collection[Key],
    held_out: Literal["validation", "test"],
    clients: int | None = None,
    held_out_clients: int | None = None,
) -> Chosen:
    """Who trains and who is evaluated on.

    Of more clients than asked for, those whose names have the smallest SHA-256: the same ones whatever the
    seed, and among the larger number that is asked for another time.
    """
    known = [key for key in keys if is_train(key, "test")]
    return Chosen(
        _first((key for key in keys if is_train(key, held_out)), clients),
        _first((key for key in keys if group(key) == held_out), held_out_clients),
        _first(known, clients),
    )


def needed(keys: Collection[Key], part: Part) -> frozenset[Key]:
    """The clients of whom texts are needed."""
    if part.held_out is None:
        return frozenset(keys)
    chosen = choose(keys, part.held_out, part.clients, part.held_out_clients)
    return chosen.train | chosen.held_out | (chosen.vocabulary if part.vocabulary else frozenset())


def _first(keys: Iterable[Key], most: int | None) -> frozenset[Key]:
    return frozenset(keys) if most is None else frozenset(heapq.nsmallest(most, keys, key=_order))


def _order(key: Key) -> bytes:
    return hashlib.sha256(key[1].encode()).digest()
