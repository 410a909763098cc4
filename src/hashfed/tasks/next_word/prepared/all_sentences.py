"""The sentences of many clients, in memory that grows with the clients and not with the sentences."""

from dataclasses import dataclass

import numpy as np

from hashfed.tasks.next_word.prepared.sentences import MappedSentences, Words

BLOCK = 1 << 13
"""Sentences that are looked through at a time."""


@dataclass(frozen=True)
class AllSentences:
    """Those of some clients, one client after the other.

    Attributes:
        store: where they are.
        starts: (c,) int64: the number in ``store`` of each client's first sentence.
        ends: (c,) int64: how many sentences the clients have up to each.

    """

    store: Words
    starts: np.ndarray
    ends: np.ndarray

    def __len__(self) -> int:
        """Number of sentences."""
        return int(self.ends[-1]) if len(self.ends) else 0

    def take(self, index: np.ndarray) -> MappedSentences:
        """Those at ``index`` (k,), in that order."""
        client = np.searchsorted(self.ends, index, "right")
        before = np.where(client > 0, self.ends[client - 1], 0)
        return MappedSentences(self.store, self.starts[client] + index - before)

    def block(self, start: int, stop: int) -> MappedSentences:
        """Neighbours, at least one: the same as ``take`` of a range, in less time."""
        first, last = np.searchsorted(self.ends, (start, stop - 1), "right")
        ends = np.minimum(self.ends[first : last + 1], stop) - start
        shift = self.starts[first : last + 1] - np.concatenate([[0], ends[:-1]])
        shift[0] += start - (self.ends[first - 1] if first else 0)
        return MappedSentences(
            self.store, np.arange(stop - start) + np.repeat(shift, np.diff(ends, prepend=0))
        )

    def most_first(self) -> "MostFirst":
        """The same, those with most predictions first, and in the same order where these are equal."""
        length, counts = self.store.length, list[np.ndarray]()
        for start in range(0, len(self), BLOCK):
            weights = self.block(start, min(start + BLOCK, len(self))).weights
            counts.append(np.bincount(length - weights, minlength=length))
        return MostFirst(self, np.cumsum(np.array(counts, np.int64).T))


@dataclass(frozen=True)
class MostFirst:
    """Sentences sorted by their predictions; which one is at a place is looked up when it is asked for.

    Attributes:
        sentences: in their own order.
        ends: (T · b,) int64: how many sentences there are up to those with T, T − 1, ... predictions in each
            of the b blocks.

    """

    sentences: AllSentences
    ends: np.ndarray

    def __len__(self) -> int:
        """Number of sentences."""
        return len(self.sentences)

    def take(self, index: np.ndarray) -> MappedSentences:
        """Those at ``index`` (k,), in that order."""
        cells, found = np.searchsorted(self.ends, index, "right"), np.empty(len(index), np.int64)
        for cell in np.unique(cells).tolist():
            fewer, block = divmod(cell, self._blocks)
            start = block * BLOCK
            some = self.sentences.block(start, min(start + BLOCK, len(self)))
            alike = np.flatnonzero(some.weights == self.sentences.store.length - fewer)
            here = cells == cell
            found[here] = start + alike[index[here] - (self.ends[cell - 1] if cell else 0)]
        return self.sentences.take(found)

    @property
    def _blocks(self) -> int:
        return -(-len(self) // BLOCK)
