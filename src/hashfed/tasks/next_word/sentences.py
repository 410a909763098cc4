"""Sentences as arrays of ids, in the form of the Stack Overflow task."""

from collections.abc import Iterable, Iterator, Sequence

import numpy as np

from hashfed.tasks.next_word.vocabulary import BOS, EOS, PAD, Vocabulary
from hashfed.tasks.sequences import Sequences


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
