"""A round on one machine whose steps all clients make together (``federated.protocols.in_lockstep``)."""

from collections.abc import Iterable, Mapping
from typing import Protocol

from hashfed.engines.exchange import Answered, told_alone
from hashfed.engines.round_end import RoundEnd
from hashfed.engines.rounds import RoundRecord
from hashfed.engines.server_round import ServerRound
from hashfed.errors import HashfedError
from hashfed.federated.checks import Limits
from hashfed.federated.messages import Message
from hashfed.federated.protocols import Exchange
from hashfed.federated.sum_secrets import SumSecrets


class Ask(Protocol):
    """Has clients answer a step: its position, and by client what it is told and what it kept."""

    def __call__(
        self, step: int, told: Mapping[str, tuple[Message, ...]], secrets: Mapping[str, SumSecrets], /
    ) -> Iterable[tuple[str, Answered]]:
        """By client, in order of names."""
        ...


def play_lockstep(server: ServerRound, end: RoundEnd, ask: Ask) -> RoundRecord:
    """Play it.

    Args:
        server: with the cohort.
        end: of the round.
        ask: the clients.

    Raises:
        HashfedError: where a client's answer is of no use, or their sum; the state is as before.
        DivergedError: where the server's step left no usable model; nor is the state one.

    """
    secrets = {name: SumSecrets() for name in server.cohort}
    sizes: dict[str, int] = {}
    seconds: dict[str, dict[str, float]] = {name: {} for name in server.cohort}
    limits = Limits(0, 0)
    for place, step in enumerate(server.steps):
        for name, answered in ask(place, told_alone(server, step), secrets):
            exchange = Exchange(name)
            try:
                step.up.check(server, exchange, answered.message, limits)
                if step.up.take is not None:
                    step.up.take(server, exchange, answered.message)
            except HashfedError as error:
                raise type(error)(f"round {server.round}: client {name}: {error}") from None
            secrets[name] = answered.secrets
            sizes |= answered.report.bytes
            for what, took in answered.report.seconds.items():
                seconds[name][what] = seconds[name].get(what, 0.0) + took
        if step is server.steps[-1]:
            end.release(server)
        if step.close is not None:
            step.close(server)
    return end.finish_sum(server, sizes, seconds)
