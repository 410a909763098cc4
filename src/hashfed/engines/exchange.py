"""One client's whole round, played in one process: the messages of both sides, their bytes and seconds."""

from collections.abc import Callable

from hashfed.config import Config
from hashfed.data import Client
from hashfed.engines.budget import device_budget, sends_everything
from hashfed.engines.client_round import ClientReport, ClientRound, draw_sentences
from hashfed.engines.server_round import ServerRound
from hashfed.federated import wire
from hashfed.federated.compression import expand
from hashfed.federated.error_feedback import Residual
from hashfed.federated.messages import Message, Update
from hashfed.models import Model, Parameters, make_model
from hashfed.retrieval import Index

__all__ = [
    "ClientReport",
    "build_model",
    "device_budget",
    "draw_sentences",
    "play_round",
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
    residual: Residual | None = None,
    keep: Callable[[Residual], None] = lambda residual: None,
) -> tuple[Update, ClientReport]:
    """Declare, hash, retrieve and train (paper, section 3.2, steps 2 to 5).

    A full selection needs neither declaration nor keys; a method without encoder needs no keys. Those
    messages are then not sent and not counted.

    Args:
        config: of the run.
        model: its functions.
        parameters: before this round.
        index: over their rows.
        client: its name and data.
        round: the round's number.
        sent: called with every message, compressed as it travels; those are the bytes that are counted.
        residual: what compression lost of the client's last update (with ``compression.error_feedback``).
        keep: called with what it lost of this one.

    Returns:
        The update, expanded, and what the round cost.

    """
    there = ServerRound.of(config, parameters, index, round)
    here = ClientRound(config, model, client, round, len(parameters.rows))
    report = here.report

    def send(message: Message) -> None:
        report.bytes[message.kind] = wire.size(message)
        sent(message)

    if not sends_everything(config):
        send(here.declared)
    welcome = there.welcome(here.declared)
    send(welcome)
    keys = here.hash(welcome)
    if keys is not None:
        send(keys)
    with report.timed("retrieve"):
        selected = there.select(client.name, here.declared, keys)
    send(selected)
    update, lost = here.train(welcome, selected, residual)
    send(update)
    if lost is not None:
        keep(lost)
    return expand(update), report
