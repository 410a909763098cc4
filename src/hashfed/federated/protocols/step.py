"""What a step of a round is: a question of the server and the client's answer, as a value.

Whoever plays, counts or measures a round walks the steps of ``protocols.steps_of`` and calls what they hold:
the simulator within one process, Flower over a network, the cost report with messages that have no content.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal, Protocol, TypeVar

import numpy as np

from hashfed.errors import HashfedError
from hashfed.federated.checks import Limits, ModelShape, RowsSent
from hashfed.federated.common_plan import CommonPlan
from hashfed.federated.messages import (
    Broadcast,
    ClientKeys,
    Common,
    Declare,
    Manifest,
    Message,
    SelectedRows,
    Update,
    Welcome,
)
from hashfed.federated.privacy.context import Context
from hashfed.federated.protocols.outline import Outline
from hashfed.federated.settings import UpdatePrecision
from hashfed.federated.sum_secrets import SumSecrets
from hashfed.federated.sum_session import SumSession
from hashfed.models import Parameters
from hashfed.retrieval import Encoder, EncoderShape
from hashfed.retrieval.planes import Tail

Kind = TypeVar("Kind", bound=Message)
Way = Literal["down", "up"]


@dataclass(frozen=True)
class Terms:
    """What of a configuration decides which steps a round has.

    Attributes:
        declares: whether clients say which rows they need.
        asks: whether they answer with keys, or with a sketch for the planes.

    """

    declares: bool
    asks: bool


@dataclass
class Exchange:
    """What the server knows of one client in a round.

    Attributes:
        client: its name.
        answers: its messages so far, by kind; those that are used up are taken out.
        sent: what is known of the rows that it may train on.

    """

    client: str
    answers: dict[str, Message] = field(default_factory=dict)
    sent: RowsSent | None = None

    @property
    def own(self) -> np.ndarray:
        """(o,) int64 ids of the rows that it said it needs; none where it said nothing."""
        declared = self.answers.get(Declare.kind)
        return declared.own.astype(np.int64) if isinstance(declared, Declare) else np.empty(0, np.int64)

    @property
    def tail(self) -> Tail | None:
        """That it was sent planes of, if it was."""
        return None if self.sent is None else self.sent.tail


class ServerSide(Protocol):
    """The server in a round, as steps ask it (``engines.server_round``)."""

    @property
    def round(self) -> int:
        """Its number."""
        ...

    @property
    def parameters(self) -> Parameters:
        """The model before this round."""
        ...

    @property
    def shape(self) -> ModelShape:
        """Of the model."""
        ...

    @property
    def encoder(self) -> Encoder:
        """Of the index."""
        ...

    @property
    def sketcher(self) -> Encoder | None:
        """Of what clients send for the planes alone, if they do."""
        ...

    @property
    def update_precision(self) -> UpdatePrecision:
        """Of updates as they are sent."""
        ...

    def declared(self, exchange: Exchange) -> Declare:
        """What the client said, or what it would say."""
        ...

    def welcome(self, declared: Declare) -> Welcome:
        """Step 2 of the paper."""
        ...

    def select(
        self, client: str, declared: Declare, keys: ClientKeys | None
    ) -> tuple[SelectedRows, Tail | None]:
        """Step 4 of the paper."""
        ...

    def broadcast(self) -> Broadcast:
        """The same for all clients."""
        ...

    def manifest(self) -> Manifest:
        """The same for all clients."""
        ...

    def sent_to_selectors(self, limits: Limits) -> RowsSent:
        """What is known of the rows of a client that selects by itself."""
        ...

    def common(self) -> Common:
        """The same for all clients, where the server learns sums alone."""
        ...

    @property
    def session(self) -> SumSession:
        """Of a cohort that adds up."""
        ...


class ClientSide(Protocol):
    """A client in a round, as steps ask it (``engines.client_round``); it may be made anew for each step."""

    @property
    def round(self) -> int:
        """Its number."""
        ...

    @property
    def shape(self) -> ModelShape:
        """Of the model."""
        ...

    @property
    def encoder_shape(self) -> EncoderShape:
        """Of the run's encoder."""
        ...

    @property
    def most_planes(self) -> int:
        """Of the tail, that a client is sent."""
        ...

    @property
    def examples(self) -> Any:
        """The data of this round."""
        ...

    @property
    def declared(self) -> Declare:
        """The rows that its data needs."""
        ...

    @property
    def agreed_budget(self) -> int:
        """Rows that it may hold."""
        ...

    def hash(self, welcome: Welcome) -> ClientKeys:
        """Step 3 of the paper."""
        ...

    def select_broadcast(self, message: Broadcast) -> tuple[Welcome, SelectedRows]:
        """Steps 2 to 4 on the device."""
        ...

    def select_published(self, manifest: Manifest) -> tuple[Welcome, SelectedRows]:
        """Steps 2 to 4 on the device, which fetches slices."""
        ...

    def train(self, welcome: Welcome, selected: SelectedRows) -> Update:
        """Step 5 of the paper."""
        ...

    def contribute(self, message: Common) -> np.ndarray:
        """What it adds to the cohort's sum, (length,) int32."""
        ...

    @property
    def common_plan(self) -> CommonPlan:
        """What it knows of the sum beforehand."""
        ...

    @property
    def sum_context(self) -> Context:
        """What the sum is for."""
        ...

    @property
    def secrets(self) -> SumSecrets:
        """What it keeps to itself of a sum under masks; changed by each step."""
        ...


Received = dict[str, Message]
"""What a client has of the server's messages, by kind; those that are used up are taken out (``take``)."""


def take(got: Received, kind: type[Kind]) -> Kind:
    """A message out of what was received, which holds it no longer.

    Raises:
        HashfedError: where there is none.

    """
    message = got.pop(kind.kind, None)
    if not isinstance(message, kind):
        raise HashfedError(f"no message {kind.kind} came")
    return message


@dataclass(frozen=True)
class Down:
    """A message of the server.

    Attributes:
        kind: its class.
        make: it, from the client's answers so far; of all clients at once where the step's scope is the
            cohort. Raises HashfedError where an answer does not fit, which only the maker can tell.
        check: by the client: raises HashfedError where it does not fit.
        outline: the same without content, of what is known beforehand.
        timed: under which name the server's seconds of making it count, if they do.
        fetched: whether clients get its address, and take it and what it lists from where it is stored.
        scope: ``cohort``: it is the same for all clients.

    """

    kind: type[Message]
    make: Callable[[ServerSide, Exchange], Message]
    check: Callable[[ClientSide, Any], None]
    outline: Callable[[Outline], Message]
    timed: str | None = None
    fetched: bool = False
    scope: Literal["client", "cohort"] = "client"


@dataclass(frozen=True)
class Up:
    """A client's answer.

    Attributes:
        kind: its class.
        make: it, from what the client has received.
        check: by the server, before anything else looks at it: raises HashfedError where it does not fit.
        outline: the same without content.
        take: what the server does with it at once, where it is not kept for a later step; also raises
            HashfedError where it does not fit, and nothing is changed.

    """

    kind: type[Message]
    make: Callable[[ClientSide, Received], Message]
    check: Callable[[ServerSide, Exchange, Any, Limits], None]
    outline: Callable[[Outline], Message]
    take: Callable[[ServerSide, Exchange, Any], None] | None = None


@dataclass(frozen=True)
class Step:
    """One question and answer.

    Attributes:
        name: of it, in messages, reports and tables.
        down: what the server sends, in order.
        up: what comes back.
        scope: ``cohort``: what is sent is the same for all clients.
        needs: messages of earlier steps that a client must still have: the only state that it keeps, for all
            else it computes again.
        ahead: whether the answer needs nothing of this round, so that it may be asked for in the one before
            (``riding``); a first step, or one after such steps. It is closed in its round where the next step
            is not ahead, for that one's messages may need the model.
        where: the terms under which it is played; the messages of one that is not go with the next step's.
        close: what the server does once nobody's answer is waited for any more: then alone the next step
            begins, and the last one leaves a sum (``ServerSide.session``). None: each client goes on by
            itself.

    """

    name: str
    down: tuple[Down, ...]
    up: Up
    scope: Literal["client", "cohort"] = "client"
    needs: tuple[Down, ...] = ()
    ahead: bool = False
    where: Callable[[Terms], bool] = lambda terms: True
    close: Callable[[ServerSide], None] | None = None


def in_lockstep(steps: Sequence[Step]) -> bool:
    """Whether a round of these steps waits for all clients after each, and ends with a sum."""
    return any(step.close is not None for step in steps)


def riding(steps: Sequence[Step], step: Step) -> Step | None:
    """The step of the next round that is asked for along with this one: the last ones bring those ahead."""
    ahead = [one for one in steps if one.ahead]
    place = steps.index(step) - (len(steps) - len(ahead))
    return ahead[place] if place >= 0 else None


def played(steps: tuple[Step, ...], terms: Terms) -> tuple[Step, ...]:
    """Those of the steps that are played under these terms."""
    found: list[Step] = []
    waiting: tuple[Down, ...] = ()
    for step in steps:
        if not step.where(terms):
            waiting += step.down
            continue
        needs = tuple(down for down in step.needs if down not in waiting)
        found.append(replace(step, down=waiting + step.down, needs=needs))
        waiting = ()
    return tuple(found)


def needed_later(steps: Sequence[Step], step: Step) -> set[str]:
    """Kinds of messages that a client must still have after ``step``."""
    after = steps[steps.index(step) + 1 :]
    return {down.kind.kind for later in after for down in later.needs}
