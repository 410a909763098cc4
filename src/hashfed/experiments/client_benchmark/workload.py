"""What is timed: one client's round on one model, by hashfed, by plain PyTorch, and its bare products."""

import time
from dataclasses import dataclass, field

from hashfed.config import Config, make_config
from hashfed.data import FederatedText, synthetic_text
from hashfed.engines.exchange import ClientReport, build_model, play_round
from hashfed.experiments.client_benchmark.floor import matrix_product_seconds
from hashfed.experiments.client_benchmark.plain_pytorch import train_plainly
from hashfed.federated import client as client_side
from hashfed.models import Model, Parameters
from hashfed.randomness import stream
from hashfed.retrieval import Index, build_index

SENTENCES, LENGTH, BATCH = 64, 20, 16
STEPS = SENTENCES // BATCH


@dataclass
class Workload:
    """One client with 64 full sentences of 20 positions, in batches of 16, and the reference model.

    Attributes:
        words: V.
        data: of the client.
        model: the default model.
        parameters: before training.
        indexes: by budget; the server builds one a round for all clients, so building is not timed here.

    """

    words: int
    data: FederatedText = field(init=False)
    model: Model = field(init=False)
    parameters: Parameters = field(init=False)
    indexes: dict[float, Index] = field(init=False, default_factory=dict)

    def __post_init__(self) -> None:
        self.data = synthetic_text(self.words, 1, SENTENCES, LENGTH)
        self.model = build_model(Config())
        self.parameters = self.model.init(len(self.data.vocabulary), stream(0, "init"))

    def config(self, budget: float) -> Config:
        """The default method at a budget; 1: the full layer."""
        return make_config(
            {
                "data": {"vocabulary": self.words, "sentence_length": LENGTH},
                "retrieval": {"method": "full"} if budget == 1 else {},
                "selection": {"budget": budget},
                "client": {"learning_rate": 0.1, "batch_size": BATCH, "sentences": SENTENCES},
            }
        )

    def round(self, budget: float) -> tuple[float, ClientReport]:
        """Seconds to declare, hash, look up, select and train, and the report."""
        config = self.config(budget)
        if budget not in self.indexes:
            counts = self.data.label_counts
            self.indexes[budget] = build_index(self.parameters.rows, config.retrieval, counts, 0)
        index, client = self.indexes[budget], self.data.train[0]
        start = time.perf_counter()
        _, report, _ = play_round(config, self.model, self.parameters, index, client, 1)
        return time.perf_counter() - start, report

    def plain(self) -> float:
        """Seconds of the same client's training of the full layer in plain PyTorch."""
        start = time.perf_counter()
        self._plain_loss()
        return time.perf_counter() - start

    def products(self, budget: float) -> float:
        """Seconds of the matrix products of as many steps; hashing is not among them."""
        rows = max(1, round(budget * len(self.data.vocabulary)))
        body, width = self.parameters.body, self.model.dimension
        return STEPS * matrix_product_seconds(body, rows, width, BATCH * LENGTH)

    def loss_difference(self) -> float:
        """Of the mean loss of the steps, hashfed's full layer against plain PyTorch, relative."""
        local = client_side.LocalModel(None, self.parameters.rows, None, self.parameters.body)
        settings, sentences = self.config(1.0).client, self.data.train[0].sentences
        update, _ = client_side.train(self.model, local, sentences, settings, 1, stream(0, "train"))
        return abs(update.loss / self._plain_loss() - 1)

    def _plain_loss(self) -> float:
        settings, sentences = self.config(1.0).client, self.data.train[0].sentences
        return train_plainly(self.model, self.parameters, sentences, settings, stream(0, "train"))
