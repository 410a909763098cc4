"""The columns of a prepared folder, and clients and sentences found in them.

    tokens          ids of the words of all sentences, one after the other
    sentence-ends   where each sentence ends in them
    client-ends     the sentence after the last of each client
    name-ends       where each client's name ends in ``names``, bytes of UTF-8
    roles           what each client is for, in bits (``Role``)
    counts-SIDE     how often each row is a target of those who train, by whom a run evaluates on

Clients are in order of their names, and a client's sentences in order of its texts.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import IntFlag
from functools import cached_property
from pathlib import Path
from typing import Any, overload

import numpy as np

from hashfed.tasks.federated_data import Client
from hashfed.tasks.next_word.prepared.all_sentences import AllSentences
from hashfed.tasks.next_word.prepared.columns import SUFFIX, map_column, release
from hashfed.tasks.next_word.prepared.sentences import MappedSentences


class Role(IntFlag):
    """What a client is for; several at once."""

    TRAIN_FOR_TEST = 1
    TEST = 2
    TRAIN_FOR_VALIDATION = 4
    VALIDATION = 8


TRAIN = {"test": Role.TRAIN_FOR_TEST, "validation": Role.TRAIN_FOR_VALIDATION}
HELD_OUT = {"test": Role.TEST, "validation": Role.VALIDATION}
"""By whom a run evaluates on."""


@dataclass(frozen=True)
class Store:
    """The columns, mapped; a process that receives it maps them itself.

    Attributes:
        folder: where they are.
        length: T, most words of a sentence.

    """

    folder: Path
    length: int

    def __getstate__(self) -> dict[str, Any]:
        return {"folder": self.folder, "length": self.length}

    @cached_property
    def tokens(self) -> np.ndarray:
        """All words."""
        return self.column("tokens")

    @cached_property
    def sentence_ends(self) -> np.ndarray:
        """Of each sentence in ``tokens``."""
        return self.column("sentence-ends")

    @cached_property
    def client_ends(self) -> np.ndarray:
        """Of each client in ``sentence_ends``."""
        return self.column("client-ends")

    @cached_property
    def name_ends(self) -> np.ndarray:
        """Of each client in ``names``."""
        return self.column("name-ends")

    @cached_property
    def names(self) -> np.ndarray:
        """Bytes."""
        return self.column("names")

    def column(self, name: str) -> np.ndarray:
        """One by its name."""
        return map_column(self.folder / f"{name}{SUFFIX}")

    def release(self) -> None:
        """Give back the memory of the words and sentences that were read."""
        release(self.tokens)
        release(self.sentence_ends)

    def __len__(self) -> int:
        """Number of clients."""
        return len(self.client_ends)

    def clients(self, role: Role) -> "MappedClients":
        """Those that are for something."""
        return MappedClients(self, np.flatnonzero(self.column("roles") & np.uint8(role)).astype(np.int32))

    def name(self, client: int) -> str:
        """Of a client."""
        start = self.name_ends[client - 1] if client else 0
        return bytes(self.names[start : self.name_ends[client]]).decode("utf-8", "surrogatepass")

    def span(self, client: int) -> range:
        """A client's sentences."""
        return range(int(self.client_ends[client - 1]) if client else 0, int(self.client_ends[client]))


@dataclass(frozen=True)
class MappedClients(Sequence[Client]):
    """Clients of a folder; of each what is asked for is read, when it is asked for.

    Attributes:
        store: the folder.
        numbers: (c,) int32, ascending: which.

    """

    store: Store
    numbers: np.ndarray

    def __len__(self) -> int:
        """Number of clients."""
        return len(self.numbers)

    @overload
    def __getitem__(self, index: int) -> Client: ...

    @overload
    def __getitem__(self, index: slice) -> "MappedClients": ...

    def __getitem__(self, index: int | slice) -> "Client | MappedClients":
        """One client, or some."""
        if isinstance(index, slice):
            return MappedClients(self.store, self.numbers[index])
        number = int(self.numbers[index])
        return Client(self.store.name(number), MappedSentences(self.store, self.store.span(number)))

    def __iter__(self) -> Iterator[Client]:
        """In order."""
        return (self[index] for index in range(len(self)))

    def sentences(self) -> np.ndarray:
        """(c,) int64: how many each client has."""
        return np.asarray(np.diff(self.store.client_ends, prepend=0)[self.numbers])

    def all_examples(self) -> AllSentences:
        """See ``HasAllExamples``."""
        counts = self.sentences()
        return AllSentences(self.store, self.store.client_ends[self.numbers] - counts, np.cumsum(counts))

    def neighbours(self, most: int) -> Iterator["MappedClients"]:
        """See ``HasNeighbours``; memory does not fill with the pages of those before."""
        ends, start = np.cumsum(self.sentences()) * self.store.length, 0
        while start < len(ends):
            before = int(ends[start - 1]) if start else 0
            stop = int(np.searchsorted(ends, before + most)) + 1
            yield self[start:stop]
            self.store.release()
            start = stop

    def joined(self) -> MappedSentences:
        """Their sentences, to be read at once: their numbers are held unless the clients are neighbours."""
        numbers = self.numbers
        if len(numbers) and numbers[-1] - numbers[0] + 1 == len(numbers):
            first, last = self.store.span(int(numbers[0])), self.store.span(int(numbers[-1]))
            return MappedSentences(self.store, range(first.start, last.stop))
        everything = self.all_examples()
        return everything.block(0, len(everything))
