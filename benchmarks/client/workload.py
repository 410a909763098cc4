"""What is timed: one client's round on one model, by hashfed, by plain PyTorch, and its bare products."""

import time
from dataclasses import dataclass, field

import torch

from benchmarks.client.floor import matrix_product_seconds
from hashfed.bench.plain_pytorch import train_plainly
from hashfed.bench.synthetic import synthetic_text
from hashfed.config import Config, make_config
from hashfed.cost.budgets import Budget, budget_settings
from hashfed.engines.budget import build_model, device_budget
from hashfed.engines.client_round import ClientReport, ClientRound
from hashfed.engines.exchange import play_round
from hashfed.engines.server_round import ServerRound
from hashfed.federated import client as client_side
from hashfed.federated.client import own_rows
from hashfed.federated.messages import Update
from hashfed.federated.tail import TailSum
from hashfed.models import Model, Parameters, output_gradients
from hashfed.randomness import stream
from hashfed.retrieval import Index, build_index
from hashfed.retrieval.planes import Tail
from hashfed.tasks.federated_data import FederatedData
from hashfed.tasks.next_word.vocabulary import Vocabulary

SENTENCES, LENGTH, BATCH = 64, 20, 16
STEPS = SENTENCES // BATCH
COHORT = 16
"""Clients whose changes of the tail the server adds up together."""


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
    data: FederatedData[Vocabulary] = field(init=False)
    model: Model = field(init=False)
    parameters: Parameters = field(init=False)
    indexes: dict[Budget, Index] = field(init=False, default_factory=dict)

    def __post_init__(self) -> None:
        self.data = synthetic_text(self.words, 1, SENTENCES, LENGTH)
        self.model = build_model(Config())
        self.parameters = self.model.init({"output": self.data.size}, stream(0, "init"))

    def config(self, budget: Budget) -> Config:
        """The default method at a budget; 1: the full layer."""
        return make_config(
            {
                "data": {"vocabulary": self.words, "sentence_length": LENGTH},
                "retrieval": {"method": "full"} if budget == 1 else {},
                "selection": budget_settings(budget),
                "client": {"learning_rate": 0.1, "batch_size": BATCH, "examples": SENTENCES},
            }
        )

    def round(self, budget: Budget) -> tuple[float, ClientReport, float]:
        """Seconds to declare, hash, look up, select and train; the report; and the server's for the tail."""
        config = self.config(budget)
        if budget not in self.indexes:
            counts = self.data.label_counts
            self.indexes[budget] = build_index(self.parameters.rows, config.retrieval, counts, 0)
        index, client = self.indexes[budget], self.data.train[0]
        start = time.perf_counter()
        there = ServerRound.of(config, self.parameters, index, 1)
        played = play_round(there, ClientRound(config, self.model, client, 1, self.parameters.sizes))
        seconds = time.perf_counter() - start
        return seconds, played.report, self._tail_seconds(played.update, played.tail)

    def plain(self) -> float:
        """Seconds of the same client's training of the full layer in plain PyTorch."""
        start = time.perf_counter()
        self._plain_loss()
        return time.perf_counter() - start

    def _tail_seconds(self, update: Update, tail: Tail | None) -> float:
        """Seconds that moving all rows by a client's change of the tail takes, in a cohort; 0 without one."""
        if tail is None or update.tail is None:
            return 0.0
        sums = TailSum(self.parameters.rows, torch.zeros_like(self.parameters.rows))
        start = time.perf_counter()
        for _ in range(COHORT):
            sums.add(tail, update.tail, 1.0)
        sums.finish()
        return (time.perf_counter() - start) / COHORT

    def products(self, budget: Budget) -> float:
        """Seconds of the matrix products of as many steps; hashing is not among them."""
        own = len(own_rows(self.model, self.data.train[0].examples))
        rows = device_budget(self.config(budget), self.data.size, own)
        body, width = self.parameters.body, self.model.dimension
        return STEPS * matrix_product_seconds(body, rows, width, BATCH * LENGTH)

    def loss_difference(self) -> float:
        """Of the mean loss of the steps, hashfed's full layer against plain PyTorch, relative."""
        local = client_side.LocalModel(None, self.parameters.rows, None, self.parameters.body)
        settings, sentences = self.config(1.0).client, self.data.train[0].examples
        update, _ = client_side.train(
            self.model, local, sentences, settings, output_gradients, 1, stream(0, "train")
        )
        return abs(update.loss / self._plain_loss() - 1)

    def _plain_loss(self) -> float:
        settings, sentences = self.config(1.0).client, self.data.train[0].examples
        return train_plainly(self.model, self.parameters, sentences, settings, stream(0, "train"))
