"""What a task is to the rest of hashfed."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal, Protocol

import numpy as np

from hashfed.data.client_texts import Key
from hashfed.models.losses import OutputLoss
from hashfed.tasks.examples import Examples
from hashfed.tasks.federated_data import Client, FederatedData
from hashfed.tasks.metrics import Metrics
from hashfed.tasks.presentation import Presentation
from hashfed.tasks.prompt import Prompt
from hashfed.tasks.reading import Tell, tell_nobody


class Task(Protocol):
    """From a source to examples, and from scores to metrics; it holds settings alone."""

    @property
    def metrics(self) -> Metrics:
        """What is measured."""
        ...

    @property
    def presentation(self) -> Presentation:
        """What its things are called."""
        ...

    @property
    def loss(self) -> OutputLoss:
        """What is trained on."""
        ...

    def load(self, held_out: Literal["validation", "test"], tell: Tell = tell_nobody) -> FederatedData[Any]:
        """The clients that the settings name; those of ``held_out`` are evaluated on.

        ``tell`` is told how far a source is read that takes long; of others nothing.

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

    def read(
        self,
        source: str,
        setting: str,
        held_out: Literal["validation", "test"] | None,
        client: str | None = None,
    ) -> Sequence[Any]:
        """What clients have, for ``encode``; each has a ``key`` that tells it from others.

        Args:
            source: a name, a file or a folder.
            setting: what messages call it.
            held_out: which clients are evaluated on; None: all are one's own, and none is left out.
            client: all is of this one client.

        Raises:
            HashfedError: where it cannot be read.

        """
        ...

    def encode(self, clients: Sequence[Any], names: Any, where: str) -> list[tuple[Key, Client | None]]:
        """Clients that are not of ``load``, with the names of rows from elsewhere.

        Args:
            clients: as ``read`` gives them.
            names: of rows.
            where: they come from, for errors.

        Returns:
            Each with what tells it from others; None for one that has nothing to predict.

        Raises:
            HashfedError: where they contradict each other.

        """
        ...

    def measure_floors(self, data: FederatedData[Any]) -> dict[str, Any]:
        """Metrics of the simplest models, which every other must beat, as ``NAME_METRIC``.

        Also ``targets``, the number of predictions that are scored, and all else that ``presentation`` names.
        """
        ...

    def facts(self, data: FederatedData[Any]) -> Mapping[str, float]:
        """What ``hashfed data describe`` tells besides what it tells of every task's data, by name."""
        ...

    def prompt(self, words: Sequence[str], names: Any) -> Prompt:
        """What ``hashfed predict`` is asked in ``words``, with the names of the run's rows.

        Raises:
            HashfedError: where the task makes no sense of them.

        """
        ...

    @property
    def sizes(self) -> Mapping[str, int]:
        """Numbers of rows by table, as far as the settings tell; n of ``output``, where they tell it."""
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

    def most_own(self, examples: int, *tables: str) -> int:
        """Rows that so many examples of a client can need, of tables that are one table."""
        ...
