"""What a phone's keyboard shows while one types: the likeliest next words, or the ends of the word begun."""

from bisect import bisect_left
from dataclasses import dataclass

import torch

from hashfed.data.tokenizer import Tokenizer
from hashfed.keyboard.predict import NextWord
from hashfed.runs.folder import RunFolder

COUNT = 3
"""Suggestions at a time."""
_LETTER = "a"
"""Appended to a text, it becomes part of its last word just where that may still go on."""
_LAST = "\U0010ffff"
"""Above every character of a word."""


@dataclass(frozen=True)
class Typed:
    """A text on its way.

    Attributes:
        words: those that are finished.
        begun: the beginning of the one being typed, as the tokenizer reads it; empty between words.
        units: how long it is as it was typed, in UTF-16 code units, as a browser counts.

    """

    words: list[str]
    begun: str
    units: int


@dataclass(frozen=True)
class Suggestions:
    """What is shown for a text.

    Attributes:
        words: at most ``COUNT``, the likeliest first, with their probabilities to be the next word.
        read: the words that the model has read, and whether it has a row for each.
        begun: as of ``Typed``.
        units: as of ``Typed``: what a suggestion replaces.

    """

    words: list[tuple[str, float]]
    read: list[tuple[str, bool]]
    begun: str
    units: int


class Keyboard:
    """Suggestions of one run."""

    def __init__(self, run: RunFolder) -> None:
        """Read its model.

        Raises:
            HashfedError: as of ``NextWord``, and where the model gives no probabilities.

        """
        self._model = NextWord(run)
        words = self._model.vocabulary.words
        self._ranks = sorted(range(len(words)), key=words.__getitem__)
        self._sorted = [words[rank] for rank in self._ranks]
        self.suggest("")

    def suggest(self, text: str) -> Suggestions:
        """The likeliest words after ``text``; while a word is being typed, those that begin so.

        A message ends with its line: the lines before the last are not read.

        Raises:
            HashfedError: where the model gives no probabilities.

        """
        model = self._model
        typed = split(text.rpartition("\n")[2], model.tokenizer)
        found = model.probabilities(typed.words)
        if typed.begun:
            ends = torch.full_like(found, -1.0)
            at = torch.tensor(self._beginning_with(typed.begun), dtype=torch.int64)
            ends[at] = found[at]
            words = model.likeliest(ends, min(COUNT, len(at)))
        else:
            words = model.likeliest(found, min(COUNT, len(found)))
        known = model.vocabulary.ids
        read = [(word, word in known) for word in model.context(typed.words)]
        return Suggestions(words, read, typed.begun, typed.units)

    def _beginning_with(self, begun: str) -> list[int]:
        """Ranks of the words that begin so."""
        return self._ranks[bisect_left(self._sorted, begun) : bisect_left(self._sorted, begun + _LAST)]


def split(text: str, tokenizer: Tokenizer) -> Typed:
    """The finished words of a text, and the one that is being typed at its end.

    Any tokenizer says by itself what may still go on: a further letter joins ``don'`` but not ``don' `` or
    ``you?``.
    """
    *words, last = tokenizer(text + _LETTER)
    begun = last.removesuffix(_LETTER)
    if not begun:
        return Typed(words, "", 0)
    # As many characters were typed, but where the tokenizer composes accents or drops what is invisible.
    lengths = range(len(begun), len(text) + 1)
    length = next((some for some in lengths if tokenizer(text[-some:] + _LETTER) == [last]), len(begun))
    return Typed(words, begun, len(text[-length:].encode("utf-16-le", "surrogatepass")) // 2)
