"""One client's round, step by step: every engine calls these, in whatever process the client lives."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from hashfed.config import Config
from hashfed.data import Client
from hashfed.data.sentences import Sentences
from hashfed.engines.budget import device_budget, sends_everything
from hashfed.engines.flops import round_flops
from hashfed.federated import client as client_side
from hashfed.federated.compression import compress_update, expand
from hashfed.federated.error_feedback import Residual, compress_with_feedback
from hashfed.federated.messages import ClientKeys, Declare, SelectedRows, Update, Welcome
from hashfed.models import Model
from hashfed.randomness import stream
from hashfed.retrieval import NoEncoder, make_encoder


@dataclass
class ClientReport:
    """What one client's round cost.

    Attributes:
        client: its name.
        bytes: size of each message by kind.
        own: (o,) int64 ids of the rows its data needs, as far as the server knows them.
        own_rows: how many its data needs.
        rows: rows it trained on.
        parameters: numbers held on the device, body and rows, before rows are dropped.
        predictions: positions trained on per epoch.
        flops: of hashing and training, analytic; a backward pass counts as two forward passes.
        seconds: for ``hash``, ``retrieve`` and ``train``.

    """

    client: str
    bytes: dict[str, int] = field(default_factory=dict)
    own: np.ndarray = field(default_factory=lambda: np.empty(0, np.int64))
    own_rows: int = 0
    rows: int = 0
    parameters: int = 0
    predictions: int = 0
    flops: int = 0
    seconds: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def timed(self, name: str) -> Iterator[None]:
        """Add the wall-clock seconds of a block."""
        start = time.perf_counter()
        yield
        self.seconds[name] = self.seconds.get(name, 0.0) + time.perf_counter() - start


def draw_sentences(config: Config, client: Client, round: int, size: int) -> Sentences:
    """The client's data of one round."""
    rng = stream(config.seed, "sample", round, client.name)
    budget = device_budget(config, size)
    return client_side.sample_sentences(client.sentences, config.client, budget, rng)


@dataclass
class ClientRound:
    """A client in one round (paper, section 3.2, steps 2, 3 and 5).

    It may be made anew for each step, in another process: the same numbers come out.

    Attributes:
        config: of the run.
        model: its functions.
        client: its name and data.
        round: the round's number.
        size: n.
        report: what the steps done so far cost.

    """

    config: Config
    model: Model
    client: Client
    round: int
    size: int
    report: ClientReport = field(init=False)

    def __post_init__(self) -> None:
        self.report = ClientReport(self.client.name)

    @cached_property
    def sentences(self) -> Sentences:
        """The data of this round."""
        return draw_sentences(self.config, self.client, self.round, self.size)

    @cached_property
    def declared(self) -> Declare:
        """Step 2: the rows that the data needs; none where all rows come anyway."""
        if sends_everything(self.config):
            return Declare(self.round, np.empty(0, np.int32), self.size)
        return client_side.declare(self.sentences, self.round, device_budget(self.config, self.size))

    def hash(self, welcome: Welcome) -> ClientKeys | None:
        """Step 3: keys of the data's queries; None where the method asks for none.

        Raises:
            HashfedError: where a query is not finite, or the encoder is unknown.

        """
        if not asks_for_keys(self.config, welcome.encoder):
            return None
        with self.report.timed("hash"):
            return client_side.hash_queries(self.model, expand(welcome), self.declared.own, self.sentences)

    def train(
        self, welcome: Welcome, selected: SelectedRows, residual: Residual | None = None
    ) -> tuple[Update, Residual | None]:
        """Step 5: drop rows where more came than fit, train on the others, and compress what changed.

        Args:
            welcome: as the server sent it.
            selected: likewise.
            residual: what compression lost of this client's last update before this round; only used with
                ``compression.error_feedback``, and left as it was.

        Returns:
            The update as it is sent, and what its compression lost; None without error feedback.

        """
        sentences, report, compression = self.sentences, self.report, self.config.compression
        with report.timed("train"):
            received = client_side.join_rows(expand(welcome), self.declared.own, expand(selected))
            budget = device_budget(self.config, self.size)
            local = client_side.drop_rows(self.model, received, self.declared.own, sentences, budget)
            rng = stream(self.config.seed, "train", self.round, self.client.name)
            update = client_side.train(self.model, local, sentences, self.config.client, self.round, rng)
            lost = None
            if compression.error_feedback:
                update, lost = compress_with_feedback(update, compression.updates, residual)
            else:
                update = compress_update(update, compression.updates)
        hashed = asks_for_keys(self.config, welcome.encoder)
        encoder = make_encoder(welcome.encoder, welcome.encoder_numbers | welcome.encoder_arrays)
        flops = round_flops(
            self.model,
            encoder if hashed else None,
            self.config.client.epochs,
            sentences.predictions,
            sentences.inputs.shape,
            len(received.rows),
            len(local.rows),
        )
        report.own = sentences.own_rows()
        report.own_rows = len(report.own)
        report.rows = len(local.rows)
        report.predictions = sentences.predictions
        report.parameters = received.rows.numel() + sum(value.numel() for value in local.body.values())
        report.flops = sum(flops.values())
        return update, lost


def asks_for_keys(config: Config, encoder: str) -> bool:
    """Whether a client with this kind of encoder answers with keys."""
    return not sends_everything(config) and encoder != NoEncoder.kind
