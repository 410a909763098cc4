"""One client's whole round, played in one process: the messages of both sides, their bytes and seconds."""

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace

from hashfed.engines.client_round import ClientReport, ClientRound
from hashfed.engines.server_round import ServerRound
from hashfed.engines.slice_store import CachedSource
from hashfed.errors import HashfedError
from hashfed.federated import wire
from hashfed.federated.compression import expand
from hashfed.federated.error_feedback import Residual
from hashfed.federated.messages import Message, Update
from hashfed.federated.protocols import Exchange, Received, Step, needed_later
from hashfed.federated.sum_secrets import SumSecrets
from hashfed.retrieval.planes import Tail


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


@dataclass(frozen=True)
class Answered:
    """A client's answer to one step of a round that is played in lockstep.

    Attributes:
        message: as it is sent.
        report: what the client's part cost, so far as this step goes.
        secrets: that the client keeps for its next step.

    """

    message: Message
    report: ClientReport
    secrets: SumSecrets


def told_alone(there: ServerRound, step: Step) -> dict[str, tuple[Message, ...]]:
    """What the server has in a step for each client that is asked, and for no other."""
    return {
        name: tuple(down.make(there, Exchange(name)) for down in step.down if down.scope == "client")
        for name in there.session.asked
    }


def play_step(there: ServerRound, here: ClientRound, step: Step, told: Sequence[Message]) -> Answered:
    """One step of one client, where all clients are waited for after each.

    Args:
        there: a server that can make what is the same for all.
        here: the client, with its secrets.
        step: of the round.
        told: what the server has for this client alone.

    """
    got = Received({message.kind: message for message in told})
    for down in step.down:
        if down.kind.kind not in got:
            got[down.kind.kind] = down.make(there, Exchange(""))
    here.report.bytes = {kind: wire.size(message) for kind, message in got.items()}
    try:
        answer = step.up.make(here, got)
    except HashfedError as error:
        raise type(error)(f"round {there.round}: client {here.client.name}: {error}") from None
    here.report.bytes[answer.kind] = wire.size(answer)
    return Answered(answer, here.report, here.secrets)


TRAINING = "train"
"""The step of every protocol in which clients train."""


def play_to_training(there: ServerRound, here: ClientRound, sent: Callable[[Message], None]) -> bytes:
    """The server's part of a round in lockstep up to the training of one client, which is not played.

    Args:
        there: the server, whose cohort has clients besides, that stand in for any.
        here: the client.
        sent: called with the messages that it trains on.

    Returns:
        The secrets that it has kept for that step.

    """
    secrets = {name: SumSecrets() for name in there.cohort}
    for step in there.steps:
        told = {
            name: Received({message.kind: message for message in messages})
            for name, messages in told_alone(there, step).items()
        }
        if step.name == TRAINING:
            for down in step.down:
                sent(told[here.client.name].get(down.kind.kind) or down.make(there, Exchange("")))
            break
        for name, got in told.items():
            player = replace(here, client=replace(here.client, name=name), secrets=secrets[name])
            answer = step.up.make(player, got)
            if step.up.take is not None:
                step.up.take(there, Exchange(name), answer)
        if step.close is not None:
            step.close(there)
    return secrets[here.client.name].to_bytes()


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
