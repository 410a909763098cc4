"""Clients with examples, and the rows of the output table: what every task makes of its source."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

import numpy as np

from hashfed.models.protocol import OUTPUT
from hashfed.tasks.examples import Examples


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


Names = TypeVar("Names", bound=RowNames)


@dataclass(frozen=True)
class FederatedData(Generic[Names]):
    """Clients to train on and clients to evaluate on.

    Attributes:
        names: of the rows.
        train: clients that may be drawn into a cohort.
        held_out: clients that are only evaluated on.
        label_counts: (n,) int64: how often each row is a target among ``train``; the public frequency.

    """

    names: Names
    train: tuple[Client, ...]
    held_out: tuple[Client, ...]
    label_counts: np.ndarray

    @property
    def size(self) -> int:
        """n, the number of rows of the output table."""
        return self.sizes[OUTPUT]

    @property
    def sizes(self) -> Mapping[str, int]:
        """Numbers of rows by table."""
        return self.names.sizes
