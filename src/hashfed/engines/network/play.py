"""What every way to play a round over a network does: it listens, and knows who owes what until when."""

import time
from abc import ABC, abstractmethod
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field

from hashfed.config import Config
from hashfed.engines.network import exchanges
from hashfed.engines.network.members import Members
from hashfed.engines.network.parcel import Parcel
from hashfed.engines.network.post import Post, Reply
from hashfed.errors import HashfedError, one_line
from hashfed.federated.messages import Message
from hashfed.federated.protocols import Step

OWN_WORK_SECONDS = 3600
"""More than the server itself works in a round."""


class TooFewAnsweredError(HashfedError):
    """A round in which fewer clients answered than ``flower.minimum_share`` asks; the model is as before.

    Attributes:
        erring: the nodes that answered with errors.

    """

    def __init__(self, text: str, erring: Collection[int]) -> None:
        """Say it in ``text``."""
        super().__init__(text)
        self.erring = erring


@dataclass(frozen=True)
class Owed:
    """What the server waits for from a client: a node's answer to a step, and to which message."""

    node: int
    step: Step
    message: str


@dataclass
class Play(ABC):
    """The server in one round.

    Attributes:
        config: of the run.
        post: to the nodes.
        members: who is there.
        erring: nodes that answered with errors, and are there.
        seconds: of the server's own work, and of the slowest node's.

    """

    config: Config
    post: Post
    members: Members
    erring: set[int] = field(default_factory=set, init=False)
    seconds: dict[str, float] = field(default_factory=dict, init=False)
    _end: float = field(default=0.0, init=False)
    """Until when nodes may answer, on the clock of ``time.monotonic``."""

    @property
    @abstractmethod
    def round(self) -> int:
        """Its number."""

    @abstractmethod
    def _answer(self, reply: Reply) -> None:
        """Do what follows from a node's reply."""

    @abstractmethod
    def _owing(self) -> Mapping[int, set[str]]:
        """Names of the steps that are owed, by node."""

    @abstractmethod
    def _fail_node(self, node: int, reason: str) -> None:
        """Nothing more comes of this node."""

    @contextmanager
    def _own_work(self) -> Iterator[None]:
        """The deadline waits for the end of this block."""
        start = time.monotonic()
        yield
        self._end += time.monotonic() - start

    @property
    def _keep(self) -> float:
        # The deadline waits for the server's own work, however long that is; so does the network.
        return self.config.flower.deadline + OWN_WORK_SECONDS

    def _start_waiting(self) -> None:
        """The deadline is that of what was asked just now."""
        self._end = time.monotonic() + self.config.flower.deadline

    def _wait(self) -> None:
        """Look for replies, rest where there are none, and give up those who owe any after the deadline."""
        late = time.monotonic() >= self._end
        if self._step():
            return
        if late:
            self._give_up()
        else:
            self.post.rest()

    def _step(self) -> bool:
        """Look for replies once, one after the other; whether there were any."""
        self.members.look(self.post, self.round - 1)
        found = False
        for reply in self.post.replies():
            found = True
            with self._own_work():
                if reply.kind == exchanges.JOIN:
                    self.members.answer(reply)
                else:
                    self._answer(reply)
        return found

    def _note_seconds(self, reply: Reply) -> None:
        slowest = self.seconds.get(f"{reply.kind}_client", 0.0)
        self.seconds[f"{reply.kind}_client"] = max(slowest, reply.worked)
        waited = self.seconds.get(f"{reply.kind}_wait", 0.0)
        self.seconds[f"{reply.kind}_wait"] = max(waited, reply.waited)

    def _lose(self, node: int, reason: str) -> None:
        """A node that is gone owes nothing more."""
        self._fail_node(node, reason)
        self.erring.discard(node)
        self.post.forget(node)
        self.members.lose(node)

    def _give_up(self) -> None:
        """The deadline has passed: whoever owes an answer has failed, and has to join again."""
        for node, steps in dict(self._owing()).items():
            names = ", ".join(sorted(steps))
            self._lose(node, f"no answer to {names} within {self.config.flower.deadline:g} s")


@dataclass
class Checked:
    """What is wrong with a message; empty where nothing is."""

    problem: str = ""


@contextmanager
def checking() -> Iterator[Checked]:
    """A block that only reads and checks what a client sent: whatever is raised there, its message is wrong.

    Nobody can list what libraries raise for something that somebody made up. What the server does with a
    checked message is no part of the block: an error there is a bug, and no client's.
    """
    found = Checked()
    try:
        yield found
    except Exception as error:
        found.problem = one_line(error)


def answer_in(parcel: Parcel, name: str, step: Step) -> Message:
    """A client's answer to a step.

    Raises:
        HashfedError: with what the client said instead, where there is none.

    """
    message = parcel.messages.get(name, {}).get(step.up.kind.kind)
    if message is None:
        raise HashfedError(parcel.problems.get(name, f"no message {step.up.kind.kind} in its answer"))
    return message
