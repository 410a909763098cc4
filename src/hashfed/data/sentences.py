"""Sentences as arrays of ids, in the form of the Stack Overflow task."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from hashfed.data.vocabulary import BOS, EOS, PAD, Vocabulary


@dataclass(frozen=True)
class Sentences:
    """Padded sentences: at position t the model reads ``inputs[:, t]`` and predicts ``targets[:, t]``.

    Attributes:
        inputs: (s, T) int32.
        targets: (s, T) int32, PAD from the sentence's end on.

    """

    inputs: np.ndarray
    targets: np.ndarray

    def __len__(self) -> int:
        """Number of sentences."""
        return len(self.inputs)

    def take(self, index: np.ndarray) -> "Sentences":
        """The sentences at ``index``, in that order."""
        return Sentences(self.inputs[index], self.targets[index])

    @property
    def predictions(self) -> int:
        """Number of positions with a target."""
        return int(np.count_nonzero(self.targets != PAD))

    def own_rows(self) -> np.ndarray:
        """Distinct ids among inputs and targets that are not padding, ascending, int64."""
        used = self.targets != PAD
        return np.unique(np.concatenate([self.inputs[used], self.targets[used]])).astype(np.int64)


def cap_texts(texts: Iterable[Sequence[str]], most_tokens: int) -> Iterator[Sequence[str]]:
    """Whole texts in order, up to the first that would exceed ``most_tokens`` words in all.

    A first text that is longer by itself is cut, so that no client is lost.
    """
    total = 0
    for words in texts:
        if total == 0 and len(words) > most_tokens:
            yield words[:most_tokens]
            return
        total += len(words)
        if total > most_tokens:
            return
        yield words


def cap_sentences(
    texts: Iterable[Sequence[str]], most: int, length: int, split: bool
) -> Iterator[Sequence[str]]:
    """The words of the first ``most`` sentences, by their texts; texts without a word are no sentence."""
    left = most
    for words in texts:
        if left == 0:
            return
        kept = words[: left * length] if split else words
        left -= len(cut_text(kept, length, split))
        yield kept


def cut_text(words: Sequence[str], length: int, split: bool) -> list[Sequence[str]]:
    """A text as sentences of at most ``length`` words: its beginning only, or all of it in pieces."""
    if not split:
        return [words[:length]] if words else []
    return [words[start : start + length] for start in range(0, len(words), length)]


def encode_sentences(sentences: Sequence[Sequence[str]], vocabulary: Vocabulary, length: int) -> Sentences:
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
    return Sentences(ids[:, :-1].copy(), ids[:, 1:].copy())


def most_predictions(sentences: int, length: int, tokens: int) -> int:
    """Most positions with a target in so many sentences of at most ``length`` words and ``tokens`` in all.

    Every word is one; so is the end of a sentence of fewer than ``length`` words.
    """
    count = min(sentences, tokens)
    return count + min(tokens, count * (length - 1))


def most_own_rows(sentences: int, length: int, tokens: int) -> int:
    """Most distinct ids in them: words that all differ, BOS, and EOS where a sentence can be too short."""
    return min(min(sentences, tokens) * length + 1, tokens + 2)
