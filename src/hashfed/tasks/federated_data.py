"""Clients with examples, and the rows of the output table: what every task makes of its source."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar, runtime_checkable

import numpy as np

from hashfed.errors import HashfedError
from hashfed.models.protocol import OUTPUT
from hashfed.tasks.examples import Examples

BLOCK = 1 << 22
"""Positions that are held at a time."""


class EmptySideError(HashfedError):
    """There is nobody to train on, or nothing to evaluate on."""


class RowNames(Protocol):
    """What the rows of the tables stand for."""

    @property
    def sizes(self) -> Mapping[str, int]:
        """Numbers of rows by each table that examples name; n of ``output``."""
        ...

    def to_json(self) -> str:
        """For the run's folder and for nodes."""
        ...


@dataclass(frozen=True)
class Client:
    """One client's name and data."""

    name: str
    examples: Examples


class SomeExamples(Protocol):
    """Examples of which only some at a time are in memory."""

    def __len__(self) -> int:
        """Number of examples."""
        ...

    def take(self, index: np.ndarray) -> Examples:
        """Those at ``index`` (k,), in that order."""
        ...


@runtime_checkable
class StoredExamples(SomeExamples, Protocol):
    """Those of many clients, which may be more than fit in memory."""

    def most_first(self) -> SomeExamples:
        """Sorted by predictions, most first; of equal ones in order."""
        ...


@runtime_checkable
class HasAllExamples(Protocol):
    """Clients whose examples are not in memory."""

    def all_examples(self) -> StoredExamples:
        """Those of all, in order."""
        ...


@runtime_checkable
class HasNeighbours(Protocol):
    """Clients whose examples are joined in less time than one by one."""

    def neighbours(self, most: int) -> "Iterator[HasNeighbours]":
        """All in order, in groups as those of ``blocks``; the last one is done with when another is due."""
        ...

    def joined(self) -> Examples:
        """The examples of all, in order."""
        ...


def all_examples(clients: Sequence[Client]) -> Examples | StoredExamples:
    """The examples of clients, at least one, one client after the other."""
    if isinstance(clients, HasAllExamples):
        return clients.all_examples()
    first, *others = (client.examples for client in clients)
    return first.join(others)


def blocks(clients: Sequence[Client], most: int = BLOCK) -> Iterator[Examples]:
    """The same in blocks of about ``most`` positions, for work whose memory grows with them."""
    if isinstance(clients, HasNeighbours):
        for group in clients.neighbours(most):
            yield group.joined()
        return
    some: list[Examples] = []
    total = 0
    for client in clients:
        some.append(client.examples)
        total += math.prod(client.examples.shape)
        if total >= most:
            yield some[0].join(some[1:])
            some, total = [], 0
    if some:
        yield some[0].join(some[1:])


@dataclass(frozen=True)
class Measured:
    """What was measured of data beforehand, where measuring takes its time.

    Attributes:
        sizes: numbers of clients, examples and predictions, by name.
        own_rows: what is told of the rows that a training client needs, by the tables that are one table.
        floors: what the task's floors achieve.
        sha256: the checksum (``facts.digest``).

    """

    sizes: Mapping[str, int]
    own_rows: Mapping[str, Mapping[str, float]]
    floors: Mapping[str, Any]
    sha256: str


Names = TypeVar("Names", bound=RowNames)


@dataclass(frozen=True)
class FederatedData(Generic[Names]):
    """Clients to train on and clients to evaluate on.

    Attributes:
        names: of the rows.
        train: clients that may be drawn into a cohort.
        held_out: clients that are only evaluated on.
        label_counts: (n,) int64: how often each row is a target among ``train``; the public frequency.
        measured: what is known beforehand; None: nothing.

    """

    names: Names
    train: Sequence[Client]
    held_out: Sequence[Client]
    label_counts: np.ndarray
    measured: Measured | None = None

    @property
    def size(self) -> int:
        """n, the number of rows of the output table."""
        return self.sizes[OUTPUT]

    @property
    def sizes(self) -> Mapping[str, int]:
        """Numbers of rows by table."""
        return self.names.sizes
