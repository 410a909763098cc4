"""The work that every candidate does: a model, its clients, and rounds in which all of them take part."""

import dataclasses
import json
from dataclasses import dataclass
from pathlib import Path

from hashfed.bench.synthetic import synthetic_text
from hashfed.bench.workload import write_workload
from hashfed.config import Config, make_config
from hashfed.engines.budget import build_model
from hashfed.engines.client_round import ClientRound, draw_examples
from hashfed.engines.exchange import play_round
from hashfed.engines.server_round import ServerRound
from hashfed.randomness import stream
from hashfed.retrieval import build_index
from hashfed.tasks.federated_data import FederatedData
from hashfed.tasks.next_word.vocabulary import Vocabulary

LENGTH, BATCH, RATE = 20, 16, 0.1


@dataclass(frozen=True)
class Scenario:
    """Sizes of the work.

    Attributes:
        words: V.
        clients: all of whom train in every round.
        sentences: of each client, of 20 positions, in batches of 16.
        workers: cores to use.
        rounds: to play; the first warms up.
        budget: fraction of the rows that hashfed sends; 1: the full layer, as all peers do.

    """

    words: int
    clients: int
    sentences: int
    workers: int
    rounds: int
    budget: float = 1.0

    @property
    def batches(self) -> list[int]:
        """Sequences of each step of a client."""
        return [min(BATCH, self.sentences - start) for start in range(0, self.sentences, BATCH)]

    def to_json(self) -> str:
        """One line."""
        return json.dumps(dataclasses.asdict(self))

    def data(self) -> FederatedData[Vocabulary]:
        """The clients' sentences."""
        return synthetic_text(self.words, self.clients, self.sentences, LENGTH)

    def config(self) -> Config:
        """The default model; plain federated averaging, each client counting the same."""
        return make_config(
            {
                "data": {"vocabulary": self.words, "sentence_length": LENGTH},
                "retrieval": {"method": "full"} if self.budget == 1 else {},
                "selection": {"budget": self.budget},
                "client": {"learning_rate": RATE, "batch_size": BATCH, "examples": self.sentences},
                "server": {"optimizer": "fedavg", "learning_rate": 1.0, "weighting": "uniform"},
                "cohort": self.clients,
                "rounds": self.rounds,
                "workers": self.workers,
            }
        )

    def write_workload(self, path: Path) -> None:
        """The same for peers, as a file; sentences in the order in which hashfed takes them in round 1."""
        config, data = self.config(), self.data()
        model = build_model(config)
        parameters = model.init({"output": data.size}, stream(config.seed, "init"))
        clients = []
        for client in data.train:
            drawn = draw_examples(config, model, client, 1, data.size)
            order = stream(config.seed, "train", 1, client.name).permutation(len(drawn))
            clients.append(drawn.take(order))
        write_workload(path, config, parameters, clients)

    def first_loss(self) -> float:
        """Mean loss over the steps of the first client in round 1, nats."""
        config, data = self.config(), self.data()
        model = build_model(config)
        parameters = model.init({"output": data.size}, stream(config.seed, "init"))
        index = build_index(parameters.rows, config.retrieval, data.label_counts, config.seed)
        there = ServerRound.of(config, parameters, index, 1)
        here = ClientRound(config, model, data.train[0], 1, parameters.sizes)
        return play_round(there, here).update.loss
