"""What is trained: random clients of the paper's model, or the clients of a data set."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from hashfed.bench.synthetic import synthetic_text
from hashfed.config import Config, make_config
from hashfed.cost.budgets import Budget
from hashfed.cost.variants import at_budget
from hashfed.engines.budget import build_model, device_budget
from hashfed.engines.client_round import draw_examples
from hashfed.engines.rounds import draw_cohort
from hashfed.federated.client import own_rows
from hashfed.models import Model, Parameters
from hashfed.randomness import stream
from hashfed.tasks.examples import Examples
from hashfed.tasks.federated_data import FederatedData
from hashfed.tasks.next_word.vocabulary import SPECIAL

SENTENCES, LENGTH, BATCH = 64, 20, 16
"""Of a random client: 4 steps a round, of full sentences."""
ROUNDS = 1_000_000
"""Of a configuration: more than are ever played."""
SOME = 8
"""Clients whose own rows are counted."""


@dataclass
class Work:
    """Clients, and the settings with which they train.

    Attributes:
        clients: what they are called.
        settings: but for budget, cohort and device.
        size: n, rows of the output table; None where only the data tell.
        load: makes or reads their data.

    """

    clients: str
    settings: Config
    size: int | None
    load: Callable[[], FederatedData[Any]]

    @cached_property
    def data(self) -> FederatedData[Any]:
        """Read when it is first asked for."""
        return self.load()

    @property
    def rows(self) -> int:
        """N."""
        return self.data.size if self.size is None else self.size

    @property
    def random(self) -> bool:
        """Whether its clients are drawn: all have as many sentences, and these are full."""
        return self.size is not None

    @cached_property
    def model(self) -> Model:
        """Its functions."""
        return build_model(self.settings)

    @cached_property
    def parameters(self) -> Parameters:
        """Before the first round, on the CPU."""
        return self.model.init(self.data.sizes, stream(self.settings.seed, "init"))

    def config(self, budget: Budget, cohort: int, device: str) -> Config:
        """A run of the cohort engine."""
        server = self.settings.server.model_copy(update={"decay_rounds": None, "decay_start": 0})
        changes = {"cohort": cohort, "device": device, "engine": "cohort", "rounds": ROUNDS, "workers": 1}
        return at_budget(self.settings, budget).model_copy(update={**changes, "server": server})

    def drawn(self, config: Config, round: int) -> list[Examples]:
        """The data of each client of a round."""
        data = self.data
        return [
            draw_examples(config, self.model, data.train[place], round, data.size)
            for place in draw_cohort(config, round, len(data.train))
        ]

    def held_rows(self, config: Config) -> int:
        """Rows of the output table that a client trains on, the mean over some."""
        some = self.drawn(config, 1)[:SOME]
        own = [len(own_rows(self.model, examples)) for examples in some]
        return sum(max(count, device_budget(config, self.rows, count)) for count in own) // len(own)

    def layers(self) -> list[tuple[int, int]]:
        """(outputs, inputs) of the linear maps of the body."""
        shapes = self.model.body_shapes().values()
        return [(shape[0], shape[1]) for shape in shapes if len(shape) == 2]


def steps_of(config: Config, drawn: list[Examples]) -> int:
    """Of all these clients in a round."""
    client = config.client
    return client.epochs * sum(-(-len(examples) // client.batch_size) for examples in drawn)


def predictions_of(config: Config, drawn: list[Examples]) -> int:
    """That they train on in a round."""
    return config.client.epochs * sum(examples.weight for examples in drawn)


def random_work(settings: Config, words: int, clients: int) -> Work:
    """The paper's model, whose clients have full sentences of random words.

    Args:
        settings: how rows are found, and clients and the server learn.
        words: V; there are 4 rows more.
        clients: at least as many as the largest cohort.

    """
    tree = settings.model_dump(mode="json", exclude={"data", "model"})
    tree["data"] = {"vocabulary": words, "sentence_length": LENGTH}
    tree["client"] |= {"batch_size": BATCH, "examples": SENTENCES, "epochs": 1}
    config = make_config(tree)

    def load() -> FederatedData[Any]:
        return synthetic_text(words, clients, SENTENCES, LENGTH, config.seed)

    return Work("random", config, words + len(SPECIAL), load)
