"""A task that no file of hashfed knows: sets of labels, chosen by name.

CONTRIBUTING.md shows its settings as the example of a new task.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from pydantic import Field

from hashfed.data.client_texts import Key
from hashfed.errors import HashfedError
from hashfed.models import INPUT, OUTPUT
from hashfed.models.batch import Targets
from hashfed.models.losses import LOSSES, OutputLoss
from hashfed.randomness import stream
from hashfed.tasks.examples import Examples
from hashfed.tasks.federated_data import Client, FederatedData
from hashfed.tasks.label_sets import LabelSets
from hashfed.tasks.metrics import Metrics, Sums
from hashfed.tasks.presentation import Measure, Presentation
from hashfed.tasks.prompt import Prompt
from hashfed.tasks.reading import Tell, tell_nobody
from hashfed.tasks.settings import TaskSettings


class ToySettings(TaskSettings):
    """Labels of made-up sets of features."""

    task: Literal["toy-labels"] = "toy-labels"
    source: str = "made-up"
    labels: int = Field(30, ge=2)
    """Number of labels."""

    size_setting: ClassVar[str] = "labels"
    named: ClassVar[tuple[str, ...]] = ("made-up",)

    def build(self) -> "ToyLabels":
        return ToyLabels(self)


PRECISION = Measure("precision", "Precision", "Precision", "%", "higher", "precision")
PRESENTATION = Presentation(
    "baskets", "labels", "baskets", (PRECISION,), (PRECISION,), ("frequent",), note="Among {targets} baskets."
)


class ToyMetrics:
    def sums(self, logits: torch.Tensor, targets: Targets) -> Sums:
        best = logits.argmax(1)[targets.owners] == targets.rows
        return {"baskets": len(targets), "found": int(best.sum())}

    def metrics(self, sums: Sums) -> dict[str, float]:
        return {"precision": sums.get("found", 0) / max(1, sums.get("baskets", 0))}

    def check(self, sums: Sums, most: int) -> Sums:
        if not 0 <= sums["found"] <= sums["baskets"] <= most:
            raise HashfedError(f"found = {sums['found']}: must be from 0 to {most}")
        return sums


class Names(tuple[str, ...]):
    @property
    def sizes(self) -> dict[str, int]:
        return {OUTPUT: len(self), INPUT: len(self)}

    def to_json(self) -> str:
        return json.dumps(self)


@dataclass(frozen=True)
class ToyLabels:
    settings: ToySettings
    metrics: ClassVar[Metrics] = ToyMetrics()
    presentation: ClassVar[Presentation] = PRESENTATION
    loss: ClassVar[OutputLoss] = LOSSES["softmax"]

    def load(self, held_out: Literal["validation", "test"], tell: Tell = tell_nobody) -> FederatedData[Names]:
        clients = [Client(f"c{one}", self._drawn(one)) for one in range(8)]
        names = Names(map(str, range(self.settings.labels)))
        return FederatedData(names, tuple(clients[:6]), tuple(clients[6:]), np.ones(len(names), np.int64))

    def _drawn(self, client: int) -> LabelSets:
        size = self.settings.labels
        labels = stream(0, "toy", client=str(client)).integers(0, size, 10).astype(np.int32)
        twice, counts = np.sort(labels.reshape(5, 2), axis=1), np.full(5, 2)
        twice[:, 1] += twice[:, 0] == twice[:, 1]
        return LabelSets(labels, np.ones(10, np.float32), counts, twice.ravel() % size, counts)

    def read_names(self, text: str) -> Names:
        return Names(json.loads(text))

    def read(self, source: str, setting: str, held_out: object, client: str | None = None) -> list[Any]:
        raise HashfedError(f"{setting} = {source}: this task has no data of nodes")

    def encode(self, clients: Sequence[Any], names: Names, where: str) -> list[tuple[Key, Client | None]]:
        return []

    def measure_floors(self, data: FederatedData[Any]) -> dict[str, Any]:
        return {"frequent_precision": 0.25, "targets": sum(len(one.examples) for one in data.held_out)}

    def facts(self, data: FederatedData[Any]) -> dict[str, float]:
        return {"spoons": 2.5}

    def prompt(self, words: Sequence[str], names: Names) -> Prompt:
        ids = np.array([int(word) for word in words], np.int32)
        count = np.array([len(ids)])
        example = LabelSets(
            ids, np.ones(len(ids), np.float32), count, np.empty(0, np.int32), np.zeros(1, int)
        )
        return Prompt(example, names.__getitem__, ids, ("those asked for are no answer",))

    @property
    def sizes(self) -> dict[str, int]:
        return dict.fromkeys((OUTPUT, INPUT), self.settings.labels)

    def within(self, examples: Examples, size: int) -> Examples:
        return examples

    def from_columns(self, columns: Mapping[str, np.ndarray]) -> Examples:
        return LabelSets(**columns)

    def imagine(self, examples: int, length: int, predictions: int) -> Examples:
        ids, counts = np.zeros(examples * length, np.int32), np.full(examples, length)
        values = np.ones(len(ids), np.float32)
        return LabelSets(ids, values, counts, np.ones(examples, np.int32), np.ones(examples, np.int64))

    def most_predictions(self, examples: int | None) -> int:
        return 5 if examples is None else examples

    def most_own(self, examples: int, *tables: str) -> int:
        return min(2 * examples, self.settings.labels)
