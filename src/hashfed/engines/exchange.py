"""One client's whole round, played in one process: the messages of both sides, their bytes and seconds."""

from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass

from hashfed.config import Config
from hashfed.engines.client_round import ClientReport, ClientRound
from hashfed.engines.server_round import ServerRound
from hashfed.engines.slice_store import CachedSource
from hashfed.federated import wire
from hashfed.federated.compression import expand
from hashfed.federated.error_feedback import Residual
from hashfed.federated.messages import Message, Update
from hashfed.federated.protocols import Exchange, Received, needed_later
from hashfed.models import Model
from hashfed.retrieval.planes import Tail


def build_model(config: Config) -> Model:
    """The model that the configuration names."""
    return config.model.build()


@dataclass(frozen=True)
class Played:
    """A client's round.

    Attributes:
        update: of the client, expanded.
        report: what its round cost.
        tail: that it was sent planes of, if it was.
        residual: what compression lost of the update, where that is fed back.

    """

    update: Update
    report: ClientReport
    tail: Tail | None
    residual: Residual | None


def play_round(
    there: ServerRound, here: ClientRound, sent: Callable[[Message], None] = lambda message: None
) -> Played:
    """The steps of a round between its server and one client (paper, section 3.2, steps 2 to 5).

    Args:
        there: the server.
        here: the client.
        sent: called with every message, compressed as it travels; those are the bytes that are counted.

    """
    report, exchange, got = here.report, Exchange(here.client.name), Received()
    here.index = there.index  # what a client would build of a broadcast

    def send(message: Message) -> None:
        report.bytes[message.kind] = wire.size(message)
        sent(message)

    for step in there.steps:
        for down in step.down:
            with nullcontext() if down.timed is None else report.timed(down.timed):
                message = down.make(there, exchange)
            send(message)
            if down.fetched:
                here.source = here.source or CachedSource(there.published[1])
            got[message.kind] = message
        answer = exchange.answers[step.up.kind.kind] = step.up.make(here, got)
        send(answer)
        got = {kind: got[kind] for kind in needed_later(there.steps, step) & set(got)}
    assert isinstance(answer, Update), "a round ends with the training"
    return Played(expand(answer), report, exchange.tail, here.lost)
