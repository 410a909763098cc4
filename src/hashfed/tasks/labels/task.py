"""Labels of sets of features: from files to examples, metrics and floors."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np

from hashfed.data.client_texts import Key
from hashfed.models import OUTPUT
from hashfed.models.losses import LOSSES, OutputLoss
from hashfed.tasks.examples import Examples
from hashfed.tasks.federated_data import Client, FederatedData
from hashfed.tasks.label_sets import LabelSets
from hashfed.tasks.labels.clients import HELD_OUT, LabelClient, encode, make_names, read_label_data
from hashfed.tasks.labels.facts import label_facts
from hashfed.tasks.labels.floors import measure_floors
from hashfed.tasks.labels.metrics import LabelMetrics
from hashfed.tasks.labels.names import LabelNames
from hashfed.tasks.labels.presentation import PRESENTATION
from hashfed.tasks.labels.prompt import make_prompt
from hashfed.tasks.labels.settings import LabelFileSettings
from hashfed.tasks.labels.xc_format import LARGEST, read_label_file
from hashfed.tasks.metrics import Metrics
from hashfed.tasks.presentation import Presentation
from hashfed.tasks.prompt import Prompt
from hashfed.tasks.reading import Tell, tell_nobody


@dataclass(frozen=True)
class Labels:
    """See ``tasks.protocol.Task``."""

    settings: LabelFileSettings
    metrics: ClassVar[Metrics] = LabelMetrics()
    presentation: ClassVar[Presentation] = PRESENTATION

    @property
    def loss(self) -> OutputLoss:
        """See ``Task``."""
        return LOSSES[self.settings.loss]

    def load(
        self, held_out: Literal["validation", "test"], tell: Tell = tell_nobody
    ) -> FederatedData[LabelNames]:
        """See ``Task``; one held-out client has all that is evaluated on."""
        settings = self.settings
        data = read_label_data(settings, settings.source, "data.source", held_out)
        names = make_names(settings, data)
        clients = encode([*data.training, data.held_out], names, settings, f"data.source = {settings.source}")
        *train, evaluated = [client for _, client in clients if client is not None]
        counts = np.zeros(names.sizes[OUTPUT], np.int64)
        for client in train:
            counts += np.bincount(client.examples.columns()["labels"], minlength=len(counts))
        return FederatedData(names, tuple(train), (evaluated,), counts)

    def read_names(self, text: str) -> LabelNames:
        """See ``Task``."""
        return LabelNames.from_json(text)

    def read(
        self,
        source: str,
        setting: str,
        held_out: Literal["validation", "test"] | None,
        client: str | None = None,
    ) -> list[LabelClient]:
        """See ``Task``; one's own file is of one client, named by the file where nothing names it."""
        if held_out is None:
            examples = read_label_file(Path(source), setting, self.settings.counted).examples
            return [LabelClient(client or Path(source).name.split(".")[0] or HELD_OUT, examples, "train")]
        data = read_label_data(self.settings, source, setting, held_out)
        return [*data.training, data.held_out]

    def encode(
        self, clients: Sequence[LabelClient], names: LabelNames, where: str
    ) -> list[tuple[Key, Client | None]]:
        """See ``Task``."""
        return encode(clients, names, self.settings, where)

    def measure_floors(self, data: FederatedData[LabelNames]) -> dict[str, Any]:
        """The most frequent labels, and those of the nearest training examples."""
        return measure_floors(data)

    def facts(self, data: FederatedData[LabelNames]) -> dict[str, float]:
        """Features and labels of examples and clients."""
        return label_facts(data)

    def prompt(self, words: Sequence[str], names: LabelNames) -> Prompt:
        """Features with values, or their names."""
        return make_prompt(words, names, self.settings)

    @property
    def sizes(self) -> dict[str, int]:
        """Labels, where the settings say how many; else the data do, and of features always."""
        return {} if self.settings.labels is None else {OUTPUT: self.settings.labels}

    def within(self, examples: Examples, size: int) -> Examples:
        """With fewer labels: those beyond are the last one."""
        columns = examples.columns()
        return self.from_columns(columns | {"labels": np.minimum(columns["labels"], size - 1)})

    def from_columns(self, columns: Mapping[str, np.ndarray]) -> Examples:
        """See ``Task``."""
        return LabelSets(**columns)

    def imagine(self, examples: int, length: int, predictions: int) -> Examples:
        """See ``Task``; an example is one prediction, however many features it has."""
        features, counts = np.zeros(examples * length, np.int32), np.full(examples, length)
        values, ones = np.ones(len(features), np.float32), np.ones(examples, np.int64)
        return LabelSets(features, values, counts, ones.astype(np.int32), ones)

    def most_predictions(self, examples: int | None) -> int:
        """As many as examples, of which nothing limits how many a client has."""
        return LARGEST if examples is None else examples

    def most_own(self, examples: int, *tables: str) -> int:
        """All labels, and any number of features."""
        return self.settings.labels or LARGEST if tables == (OUTPUT,) else LARGEST


class LabelsSettings(LabelFileSettings):
    """Labels of sets of features, in the format of the extreme classification repository."""

    task: Literal["labels"] = "labels"

    def build(self) -> Labels:
        """See ``Labels``."""
        return Labels(self)
