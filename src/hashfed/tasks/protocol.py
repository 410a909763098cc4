"""What a task is to the rest of hashfed."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal, Protocol

import numpy as np

from hashfed.data.client_texts import Key
from hashfed.models.losses import Loss
from hashfed.tasks.examples import Examples
from hashfed.tasks.federated_data import Client, FederatedData
from hashfed.tasks.metrics import Metrics


class Task(Protocol):
    """From a source to examples, and from scores to metrics; it holds settings alone."""

    @property
    def metrics(self) -> Metrics:
        """What is measured."""
        ...

    @property
    def loss(self) -> Loss:
        """What is trained on."""
        ...

    def load(self, held_out: Literal["validation", "test"]) -> FederatedData[Any]:
        """The clients that the settings name; those of ``held_out`` are evaluated on.

        Raises:
            HashfedError: where the source cannot be read, or has fewer rows than asked for.

        """
        ...

    def read_names(self, text: str) -> Any:
        """Names of rows from what their ``to_json`` wrote.

        Raises:
            HashfedError: where it is no such text.

        """
        ...

    def read_node(
        self, node: Mapping[str, Any], held_out: Literal["validation", "test"], beside_server: bool
    ) -> Sequence[Any]:
        """The clients of a node over a network, for ``encode``.

        Args:
            node: its own settings; they alone say what it reads.
            held_out: clients that are evaluated on.
            beside_server: whether it may read the server's files.

        Raises:
            HashfedError: where settings are missing or do not fit, or nothing can be read.

        """
        ...

    def encode(self, clients: Sequence[Any], names: Any, where: str) -> list[tuple[Key, Client | None]]:
        """Clients that are not of ``load``, with the names of rows from elsewhere.

        Args:
            clients: as the task reads them.
            names: of rows.
            where: they come from, for errors.

        Returns:
            Each with what tells it from others; None for one that has nothing to predict.

        Raises:
            HashfedError: where they contradict each other.

        """
        ...

    def measure_floors(self, data: FederatedData[Any]) -> dict[str, Any]:
        """Metrics of the simplest models, which every other must beat, as ``NAME_METRIC``."""
        ...

    @property
    def sizes(self) -> Mapping[str, int]:
        """Numbers of rows by table, as far as the settings tell; n of ``output``."""
        ...

    def resized(self, value: int) -> Any:
        """Its settings with another value of ``SIZE_SETTING``; n grows with it."""
        ...

    def within(self, examples: Examples, size: int) -> Examples:
        """Examples as they would be with fewer rows, ``size``."""
        ...

    def from_columns(self, columns: Mapping[str, np.ndarray]) -> Examples:
        """Examples from what their ``columns`` gave."""
        ...

    def imagine(self, examples: int, length: int, predictions: int) -> Examples:
        """So many examples of ``length`` positions with so many predictions in all, spread evenly.

        They need the rows 0 and 1 alone: what a round costs does not depend on which rows it is about.
        """
        ...

    def most_predictions(self, examples: int | None) -> int:
        """Of a client with so many examples, or with all that it may have."""
        ...

    def most_own(self, examples: int) -> int:
        """Rows of the output table that so many examples of a client can need."""
        ...
