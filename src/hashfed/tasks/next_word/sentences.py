"""Sentences as arrays of ids, in the form of the Stack Overflow task."""

from collections.abc import Iterable, Iterator, Sequence
from typing import TypeVar

import numpy as np

from hashfed.tasks.next_word.vocabulary import BOS, EOS, PAD, Vocabulary
from hashfed.tasks.sequences import Sequences

Word = TypeVar("Word")


class Kept:
    """Which of a client's texts are kept, asked text by text in their order.

    Whole texts up to the first that would exceed ``tokens`` words in all; a first text that is longer by
    itself is cut, so that no client is lost. Of these the words of the first ``sentences`` sentences; texts
    without a word are no sentence.

    Args:
        tokens: most words.
        sentences: most sentences; None: as many as there are.
        length: most words of a sentence.
        split: whether longer texts are several sentences.

    """

    __slots__ = ("_left", "_length", "_split", "_tokens", "_total", "ended")

    def __init__(self, tokens: int, sentences: int | None, length: int, split: bool) -> None:
        self._tokens, self._left, self._length, self._split = tokens, sentences, length, split
        self._total = 0
        self.ended = False
        """Whether nothing that follows is kept."""

    def take(self, words: Sequence[str]) -> Sequence[str]:
        """What is kept of the next text."""
        if self.ended:
            return ()
        if self._total == 0 and len(words) > self._tokens:
            words, self.ended = words[: self._tokens], True
        else:
            self._total += len(words)
            if self._total > self._tokens:
                self.ended = True
                return ()
        if self._left is not None:
            if self._left == 0:
                self.ended = True
                return ()
            words = words[: self._left * self._length] if self._split else words
            self._left -= len(cut_text(words, self._length, self._split))
        return words

    def of(self, texts: Iterable[Sequence[str]]) -> Iterator[Sequence[str]]:
        """What is kept of all texts; none is asked for after the last that could be."""
        for words in texts:
            taken = self.take(words)
            if taken or not self.ended:
                yield taken
            if self.ended:
                return


def cut_text(words: Sequence[Word], length: int, split: bool) -> list[Sequence[Word]]:
    """A text as sentences of at most ``length`` words: its beginning only, or all of it in pieces."""
    if not split:
        return [words[:length]] if words else []
    return [words[start : start + length] for start in range(0, len(words), length)]


def encode_sentences(sentences: Sequence[Sequence[str]], vocabulary: Vocabulary, length: int) -> Sequences:
    """Sentences of at most ``length`` words as ids.

    BOS before each; EOS only after those shorter than ``length``; padded to ``length`` + 1 (the
    preprocessing of TFF's Stack Overflow baselines).
    """
    ids = np.full((len(sentences), length + 1), PAD, np.int32)
    for row, words in zip(ids, sentences, strict=True):
        encoded = [BOS, *vocabulary.encode(words)]
        if len(words) < length:
            encoded.append(EOS)
        row[: len(encoded)] = encoded
    return Sequences(ids[:, :-1].copy(), ids[:, 1:].copy())


def most_predictions(sentences: int, length: int, tokens: int) -> int:
    """Most positions with a target in so many sentences of at most ``length`` words and ``tokens`` in all.

    Every word is one; so is the end of a sentence of fewer than ``length`` words.
    """
    count = min(sentences, tokens)
    return count + min(tokens, count * (length - 1))


def most_own_rows(sentences: int, length: int, tokens: int) -> int:
    """Most distinct ids in them: words that all differ, BOS, and EOS where a sentence can be too short."""
    return min(min(sentences, tokens) * length + 1, tokens + 2)
