"""One client's whole round, played in one process: the messages of both sides, their bytes and seconds."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import numpy as np

from hashfed.config import Config
from hashfed.data import Client
from hashfed.data.sentences import Sentences
from hashfed.engines.flops import round_flops
from hashfed.federated import client as client_side
from hashfed.federated import server as server_side
from hashfed.federated import wire
from hashfed.federated.messages import ClientKeys, Declare, Message, Update
from hashfed.models import Model, Parameters, make_model
from hashfed.randomness import stream
from hashfed.retrieval import Index, NoEncoder, Selection, device_rows
from hashfed.retrieval.full import FullIndex


@dataclass
class ClientReport:
    """What one client's round cost.

    Attributes:
        client: its name.
        bytes: size of each message by kind.
        own: (o,) int64 ids of the rows its data needs.
        rows: rows it trained on.
        parameters: numbers held on the device, body and rows, before rows are dropped.
        predictions: positions trained on per epoch.
        flops: of hashing and training, analytic; a backward pass counts as two forward passes.
        seconds: for ``hash``, ``retrieve`` and ``train``.

    """

    client: str
    bytes: dict[str, int] = field(default_factory=dict)
    own: np.ndarray = field(default_factory=lambda: np.empty(0, np.int64))
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


def build_model(config: Config) -> Model:
    """The model that the configuration names."""
    sizes = config.model.model_dump()
    return make_model(sizes.pop("name"), **sizes)


def sends_everything(config: Config) -> bool:
    """Whether every client gets all rows, so that it need not say which it wants."""
    selection = config.selection
    unlimited = selection.budget == 1 and selection.max_rows is None and selection.max_bytes is None
    return config.retrieval.method == "full" or unlimited


def device_budget(config: Config, size: int) -> int:
    """Rows a client may hold, of ``size``."""
    if sends_everything(config):
        return size
    return min(size, device_rows(config.selection, size, config.model.embedding))


def draw_sentences(config: Config, client: Client, round: int, size: int) -> Sentences:
    """The client's data of one round."""
    rng = stream(config.seed, "sample", round, client.name)
    budget = device_budget(config, size)
    return client_side.sample_sentences(client.sentences, config.client, budget, rng)


def play_round(
    config: Config,
    model: Model,
    parameters: Parameters,
    index: Index,
    client: Client,
    round: int,
    sent: Callable[[Message], None] = lambda message: None,
) -> tuple[Update, ClientReport]:
    """Declare, hash, retrieve and train (paper, section 3.2, steps 2 to 5).

    A full selection needs neither declaration nor keys; a method without encoder needs no keys. Those
    messages are then not sent and not counted. ``sent`` is called with every message.
    """
    size = len(parameters.rows)
    full, budget = sends_everything(config), device_budget(config, size)
    report = ClientReport(client.name)

    def send(message: Message) -> None:
        report.bytes[message.kind] = wire.size(message)
        sent(message)

    sentences = draw_sentences(config, client, round, size)
    if full:
        index = FullIndex(size)
        declared = Declare(round, np.empty(0, np.int32), size)
    else:
        declared = client_side.declare(sentences, round, budget)
        send(declared)
    own = declared.own
    welcome = server_side.welcome(parameters, index, declared)
    send(welcome)

    keys = ClientKeys(round, {})
    hashed = not full and not isinstance(index.encoder, NoEncoder)
    if hashed:
        with report.timed("hash"):
            keys = client_side.hash_queries(model, welcome, own, sentences)
        send(keys)
    with report.timed("retrieve"):
        if full:
            selection = Selection.all(size)
        else:
            rng = stream(config.seed, "select", round, client.name)
            selection = server_side.retrieve(
                index, keys, declared, size, model.dimension, config.selection, rng
            )
        selected = server_side.send_rows(parameters, selection, own, budget, round)
    send(selected)
    with report.timed("train"):
        received = client_side.join_rows(welcome, own, selected)
        local = client_side.drop_rows(model, received, own, sentences, budget)
        rng = stream(config.seed, "train", round, client.name)
        update = client_side.train(model, local, sentences, config.client, round, rng)
    send(update)

    report.own = sentences.own_rows()
    report.rows = len(local.rows)
    report.predictions = sentences.predictions
    report.parameters = received.rows.numel() + sum(value.numel() for value in local.body.values())
    flops = round_flops(
        model,
        index.encoder if hashed else None,
        config.client.epochs,
        report.predictions,
        sentences.inputs.shape,
        len(received.rows),
        len(local.rows),
    )
    report.flops = sum(flops.values())
    return update, report
