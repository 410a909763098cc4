"""The clients of a source that is read piece by piece: who there is, what for, and what is kept of each."""

import unicodedata
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence

from hashfed.data.client_texts import ClientTexts, Group, Key
from hashfed.data.part import Chosen, check_stated, choose, group
from hashfed.data.streams import said
from hashfed.data.tokenizer import TOKENIZERS
from hashfed.errors import HashfedError
from hashfed.tasks.next_word.prepared.layout import HELD_OUT, TRAIN, Role
from hashfed.tasks.next_word.prepared.manifest import SIDES, Side
from hashfed.tasks.next_word.sentences import Kept
from hashfed.tasks.next_word.settings import TextSettings
from hashfed.tasks.reading import Tell

Pieces = Callable[[], Iterable[ClientTexts]]
"""Reads the source from its beginning: clients' texts in pieces, any number of one client."""


class SourceClients:
    """The clients of the source, in order of their appearance."""

    def __init__(self, settings: TextSettings) -> None:
        self.settings = settings
        self.keys: list[Key] = []
        self.roles: list[Role] = []
        """What each is for."""
        self.counted: list[bool] = []
        """Whether its words make the vocabulary."""
        self._where = said(settings.source, "data.source")
        self._numbers: dict[Key, int] = {}
        self._alone: dict[tuple[Group | None, Group], tuple[Role, bool]] = {}
        self._complete = False

    @property
    def stated(self) -> bool:
        """Whether the source says what its clients are for."""
        return bool(self.keys) and self.keys[0][0] is not None

    def choose(self, pieces: Pieces, tell: Tell) -> None:
        """Where clients are chosen by the names of all, learn these, and choose; else each is for itself."""
        if not self.settings.part(True, "test").is_bounded:
            return
        for piece in pieces():
            tell("list clients", len(piece.texts))
            if piece.texts:
                self._number(piece)
        self._end()
        chosen = [self._chosen(self.keys, side) for side in SIDES]
        self.roles = [self._roles(key, chosen) for key in self.keys]
        self.counted = [key in chosen[0].vocabulary for key in self.keys]

    def kept(self, pieces: Pieces, name: str, tell: Tell) -> Iterator[tuple[int, Sequence[str]]]:
        """The words that are kept of every text of clients who are for anything, with the client's number."""
        words_of = TOKENIZERS[self.settings.tokenizer]
        kept: dict[int, Kept] = {}
        for piece in pieces():
            tell(name, len(piece.texts))
            if not piece.texts:
                continue
            number = self._number(piece)
            if not self.roles[number] and not self.counted[number]:
                continue
            one = kept.setdefault(number, self.settings.kept())
            for text in piece.texts:
                if one.ended:
                    break
                words = one.take(words_of(text))
                if words:
                    yield number, words
        self._end()

    def _number(self, piece: ClientTexts) -> int:
        key = piece.group, unicodedata.normalize("NFC", piece.client)
        number = self._numbers.get(key)
        if number is None:
            if self._complete:
                raise HashfedError(f"{self._where}: changed while it was read")
            number = self._numbers[key] = len(self.keys)
            self.keys.append(key)
            kind = key[0], group(key)  # nothing else decides where nobody is chosen among others
            if kind not in self._alone:
                alone = [self._chosen([key], side) for side in SIDES]
                self._alone[kind] = self._roles(key, alone), key in alone[0].vocabulary
            roles, counted = self._alone[kind]
            self.roles.append(roles)
            self.counted.append(counted)
        return number

    def _end(self) -> None:
        """All of the source was read."""
        if not self.keys:
            raise HashfedError(f"{self._where}: holds no client with a text")
        check_stated(self.keys)
        self._complete = True

    def _chosen(self, keys: Collection[Key], side: Side) -> Chosen:
        part = self.settings.part(True, side)
        return choose(keys, side, part.clients, part.held_out_clients)

    def _roles(self, key: Key, chosen: Sequence[Chosen]) -> Role:
        roles = Role(0)
        for side, one in zip(SIDES, chosen, strict=True):
            roles |= TRAIN[side] if key in one.train else Role(0)
            roles |= HELD_OUT[side] if key in one.held_out else Role(0)
        return roles
