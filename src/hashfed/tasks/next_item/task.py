"""The next item: from interactions to examples, metrics and floors."""

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal

import numpy as np

from hashfed.data.client_texts import Key
from hashfed.display import shown
from hashfed.errors import HashfedError, HashfedWarning
from hashfed.models import INPUT, OUTPUT
from hashfed.models.losses import LOSSES, OutputLoss
from hashfed.tasks.examples import Examples
from hashfed.tasks.federated_data import Client, FederatedData
from hashfed.tasks.metrics import Metrics
from hashfed.tasks.next_item.catalogue import FIRST, Catalogue
from hashfed.tasks.next_item.clients import build_data, encode
from hashfed.tasks.next_item.floors import measure_floors
from hashfed.tasks.next_item.histories import Histories
from hashfed.tasks.next_item.log import History
from hashfed.tasks.next_item.metrics import NextItemMetrics
from hashfed.tasks.next_item.presentation import presentation
from hashfed.tasks.next_item.readers.reading import read_histories
from hashfed.tasks.next_item.settings import ItemSettings
from hashfed.tasks.presentation import Presentation
from hashfed.tasks.prompt import Prompt
from hashfed.tasks.reading import Tell, tell_nobody
from hashfed.tasks.sequences import Sequences


@dataclass(frozen=True)
class NextItem:
    """See ``tasks.protocol.Task``; a client is a user."""

    settings: ItemSettings
    loss: ClassVar[OutputLoss] = LOSSES["softmax"]

    @property
    def metrics(self) -> Metrics:
        """See ``NextItemMetrics``."""
        return NextItemMetrics(self.settings.ranks)

    @property
    def presentation(self) -> Presentation:
        """Of these metrics."""
        return presentation(self.settings.ranks)

    def load(
        self, held_out: Literal["validation", "test"], tell: Tell = tell_nobody
    ) -> FederatedData[Catalogue]:
        """The users that the settings name."""
        return build_data(self._read(self.settings.source, "data.source"), self.settings, held_out)

    def _read(self, source: str, setting: str) -> list[History]:
        return read_histories(source, setting, self.settings.format, self.settings.columns)

    def read_names(self, text: str) -> Catalogue:
        """See ``Task``."""
        return Catalogue.from_json(text)

    def read(
        self,
        source: str,
        setting: str,
        held_out: Literal["validation", "test"] | None,
        client: str | None = None,
    ) -> list[History]:
        """See ``Task``; a node's own users are split as all others are."""
        found = self._read(source, setting)
        if client is None:
            return found
        if len(found) > 1:
            raise HashfedError(
                f"{setting} = {source}: has {len(found):,} users: must be of the one client {client}"
            )
        return [replace(found[0], user=client)]

    def encode(
        self, clients: Sequence[History], names: Catalogue, where: str
    ) -> list[tuple[Key, Client | None]]:
        """See ``Task``; items that have no row are left out, which is told."""
        if clients:
            unknown = int(np.count_nonzero(names.places(clients[0].names) < FIRST))
            if unknown:
                of = len(clients[0].names)
                warnings.warn(
                    f"{where}: {unknown:,} of {of:,} items are none of this run's, and left out",
                    HashfedWarning,
                    stacklevel=2,
                )
        return list(encode(clients, names, self.settings))

    def measure_floors(self, data: FederatedData[Catalogue]) -> dict[str, Any]:
        """Popular items, and successors of the last one."""
        return measure_floors(data, self.settings.ranks)

    def facts(self, data: FederatedData[Catalogue]) -> dict[str, float]:
        """Users, interactions and items of the source, and lengths of histories."""
        lengths = np.array([int(one.examples.columns()["counts"].sum()) for one in data.held_out])
        return {
            "items": len(data.names.items),
            **data.names.facts,
            "items before a target, median": float(np.median(lengths)),
            "items before a target, most": int(lengths.max()),
        }

    def prompt(self, words: Sequence[str], names: Catalogue) -> Prompt:
        """Items that somebody had, the oldest first, which are no answer; unknown ones are left out."""
        items = [item for word in words for item in word.split()]
        unknown = [item for item in dict.fromkeys(items) if item not in names.rows]
        rows = np.array([names.rows[item] for item in items if item in names.rows], np.int32)
        if not len(rows):
            raise HashfedError(
                f"items = {shown(' '.join(words))}: must be some of the run's, such as {names.items[0]}"
            )
        notes = (f"unknown to this run, and left out: {', '.join(unknown)}",) if unknown else ()
        count = np.array([len(rows)])
        example = Histories(rows, count, np.minimum(count, self.settings.length), rows[-1:])
        return Prompt(example, names.text, np.union1d(rows, np.arange(FIRST)).astype(np.int64), notes)

    @property
    def sizes(self) -> dict[str, int]:
        """Items that are read and found, where their number is set."""
        count = self.settings.items
        return {} if count is None else dict.fromkeys((OUTPUT, INPUT), FIRST + count)

    def within(self, examples: Examples, size: int) -> Examples:
        """With fewer items: others are in place of those beyond."""
        columns = examples.columns()
        for name in columns.keys() & {"inputs", "targets", "items"}:
            ids = columns[name]
            columns[name] = np.where(ids < size, ids, FIRST + (ids - FIRST) % max(1, size - FIRST)).astype(
                ids.dtype
            )
        return self.from_columns(columns)

    def from_columns(self, columns: Mapping[str, np.ndarray]) -> Examples:
        """What is trained on has inputs; what is evaluated on is histories."""
        return Sequences(**columns) if "inputs" in columns else Histories(**columns)

    def imagine(self, examples: int, length: int, predictions: int) -> Examples:
        """See ``Task``."""
        return Sequences.imagine(examples, length, predictions)

    def most_predictions(self, examples: int | None) -> int:
        """Of a user, whose training is one example of ``length`` positions at most."""
        return self.settings.length

    def most_own(self, examples: int, *tables: str) -> int:
        """See ``Task``; what is read and what is found are items of one sequence."""
        most, count = self.settings.length + 1, self.settings.items
        return most if count is None else min(most, count)


class NextItemSettings(ItemSettings):
    """The next item of users' histories."""

    task: Literal["next-item"] = "next-item"

    def build(self) -> NextItem:
        """See ``NextItem``."""
        return NextItem(self)
