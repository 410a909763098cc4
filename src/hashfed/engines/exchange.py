"""One client's whole round, played in one process: the messages of both sides, their bytes and seconds."""

from collections.abc import Callable

import numpy as np

from hashfed.config import Config
from hashfed.engines.budget import device_budget, sends_everything
from hashfed.engines.client_round import ClientReport, ClientRound, draw_examples
from hashfed.engines.server_round import ServerRound
from hashfed.engines.slice_store import CachedSource, MemoryStore, SliceSource
from hashfed.federated import wire
from hashfed.federated.compression import expand
from hashfed.federated.error_feedback import Residual
from hashfed.federated.messages import Manifest, Message, SelectedRows, Update, Welcome
from hashfed.models import Model, Parameters, make_model
from hashfed.retrieval import Index
from hashfed.retrieval.planes import Tail
from hashfed.tasks.federated_data import Client

__all__ = [
    "ClientReport",
    "build_model",
    "device_budget",
    "draw_examples",
    "play_round",
    "publish_here",
    "sends_everything",
]


def build_model(config: Config) -> Model:
    """The model that the configuration names."""
    sizes = config.model.model_dump()
    return make_model(sizes.pop("name"), **sizes)


def play_round(
    config: Config,
    model: Model,
    parameters: Parameters,
    index: Index,
    client: Client,
    round: int,
    sent: Callable[[Message], None] = lambda message: None,
    prior: np.ndarray | None = None,
    published: tuple[Manifest, SliceSource] | None = None,
    residual: Residual | None = None,
    keep: Callable[[Residual], None] = lambda residual: None,
) -> tuple[Update, ClientReport, Tail | None]:
    """Declare, hash, retrieve and train (paper, section 3.2, steps 2 to 5).

    A full selection needs neither declaration nor keys; a method without encoder needs no keys. Those
    messages are then not sent and not counted.

    Args:
        config: of the run.
        model: its functions.
        parameters: the model before this round.
        index: over its rows.
        client: its name and data.
        round: the round's number.
        sent: called with every message, compressed as it travels; those are the bytes that are counted.
        prior: (n,) public counts that the index is built of; needed where the client selects by itself.
        published: the round's slices (pre-generated), where somebody made them before; None: made here.
        residual: what compression lost of the client's last update (with ``compression.error_feedback``).
        keep: called with what it lost of this one.

    Returns:
        The update, expanded; what the round cost; and the tail that the client was sent planes of, if it was.

    """
    there = ServerRound.of(config, parameters, index, round, prior)
    here = ClientRound(config, model, client, round, len(parameters.rows))
    report = here.report

    tail: Tail | None = None

    def send(message: Message) -> None:
        report.bytes[message.kind] = wire.size(message)
        sent(message)

    if config.selection.delivery == "broadcast":
        message = there.broadcast()
        send(message)
        welcome, selected = here.select_broadcast(message, index)
    elif config.selection.delivery == "pre-generated":
        manifest, source = published if published is not None else publish_here(there)
        send(manifest)
        welcome, selected = here.select_published(manifest, CachedSource(source))
    else:
        welcome, selected, tail = _ask(there, here, send)
    update, lost = here.train(welcome, selected, residual)
    send(update)
    if lost is not None:
        keep(lost)
    return expand(update), report, tail


def publish_here(there: ServerRound) -> tuple[Manifest, MemoryStore]:
    """The round's slices in the memory of this process."""
    manifest, slices = there.slices()
    return manifest, MemoryStore(slices)


def _ask(
    there: ServerRound, here: ClientRound, send: Callable[[Message], None]
) -> tuple[Welcome, SelectedRows, Tail | None]:
    """Rows on demand: declaration and keys go up, rows come down."""
    if not sends_everything(here.config):
        send(here.declared)
    welcome = there.welcome(here.declared)
    send(welcome)
    keys = here.hash(welcome)
    if keys is not None:
        send(keys)
    with here.report.timed("retrieve"):
        selected, tail = there.select(here.client.name, here.declared, keys)
    send(selected)
    return welcome, selected, tail
