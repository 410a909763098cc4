"""Examples that are sentences of a mapped folder, read when their words are asked for."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar, Protocol

import numpy as np
import torch

from hashfed.tasks.examples import span_sizes, spans
from hashfed.tasks.next_word.vocabulary import BOS, EOS, PAD
from hashfed.tasks.sequences import BoundSequences, Sequences


class Words(Protocol):
    """Sentences one after the other, as ``layout.Store`` has them."""

    @property
    def tokens(self) -> np.ndarray:
        """Ids of all words."""
        ...

    @property
    def sentence_ends(self) -> np.ndarray:
        """Where each sentence ends in them, int64."""
        ...

    @property
    def length(self) -> int:
        """T, most words of a sentence."""
        ...


@dataclass(frozen=True)
class MappedSentences:
    """See ``tasks.examples.Examples``.

    Attributes:
        store: where they are.
        index: which sentences: a range, or (s,) int64.

    """

    store: Words
    index: range | np.ndarray

    batch_columns: ClassVar[tuple[str, ...]] = Sequences.batch_columns

    def __getstate__(self) -> dict[str, Any]:
        return {"store": self.store, "index": self.index}

    def __len__(self) -> int:
        """Number of sentences."""
        return len(self.index)

    def take(self, index: np.ndarray) -> "MappedSentences":
        """See ``Examples``."""
        if isinstance(self.index, range):
            return MappedSentences(self.store, self.index.start + np.asarray(index, np.int64))
        return MappedSentences(self.store, self.index[index])

    def join(self, others: "Sequence[MappedSentences]") -> "MappedSentences":
        """See ``Examples``; all of one folder."""
        parts = [np.asarray(one.index, np.int64) for one in (self, *others)]
        return MappedSentences(self.store, np.concatenate(parts))

    @property
    def weights(self) -> np.ndarray:
        """(s,) int64: every word, and the end of a sentence that is not full."""
        words = self._words()
        return words + (words < self.store.length)

    @property
    def weight(self) -> int:
        """Number of predictions."""
        return int(self.weights.sum())

    @property
    def shape(self) -> tuple[int, int]:
        """(s, T)."""
        return len(self), self.store.length

    def own(self, *tables: str) -> np.ndarray:
        """See ``Examples``."""
        return self.sequences.own(*tables)

    def columns(self) -> dict[str, np.ndarray]:
        """See ``Examples``."""
        return self.sequences.columns()

    def bind(self, held: Mapping[str, np.ndarray | None], device: torch.device) -> BoundSequences:
        """See ``Examples``."""
        return self.sequences.bind(held, device)

    @cached_property
    def sequences(self) -> Sequences:
        """The same in memory."""
        length, words = self.store.length, self._words()
        ids = np.full((len(words), length + 1), PAD, np.int32)
        ids[:, 0] = BOS
        short = np.flatnonzero(words < length)
        ids[short, words[short] + 1] = EOS
        ids[:, 1:][np.arange(length) < words[:, None]] = self._tokens(words)
        return Sequences(ids[:, :-1].copy(), ids[:, 1:].copy())

    def _words(self) -> np.ndarray:
        """(s,) int64: words of each."""
        ends = self.store.sentence_ends
        if isinstance(self.index, range):
            first, last = self.index.start, self.index.stop
            start = int(ends[first - 1]) if first and last > first else 0
            return np.diff(ends[first:last], prepend=start)
        return span_sizes(ends, self.index)

    def _tokens(self, words: np.ndarray) -> np.ndarray:
        """Ids of all words, one sentence after the other."""
        ends, tokens = self.store.sentence_ends, self.store.tokens
        if not len(words):
            return tokens[:0]
        if isinstance(self.index, range):
            last = int(ends[self.index[-1]])
            return tokens[last - int(words.sum()) : last]
        return np.asarray(tokens[spans(ends[self.index], words)])
