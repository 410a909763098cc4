"""Messages to nodes and their replies, each as soon as it is there.

The caller decides how long it waits, and what a node that stays silent costs it.
"""

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from hashfed.engines.network.transport import NOTHING, Ahead, Answer, Content, More, Request, Transport
from hashfed.stopping import Interrupted

POLL_SECONDS = 0.1
"""Between two looks for replies."""
LONGEST_REST = 1.0
"""Between two looks, however long they take."""
LONGEST = 500
"""Characters of a text from a node that are shown and kept."""


def shorten(text: str) -> str:
    """One line of at most ``LONGEST`` characters."""
    return " ".join(text[: 2 * LONGEST].split())[:LONGEST]


def seconds_of(value: object, most: float) -> float:
    """A duration that somebody else measured, shown and never computed with; 0 where it cannot be one.

    ``most``: seconds for which it was waited.
    """
    usable = isinstance(value, int | float) and 0 <= value <= most
    return float(value) if usable else 0.0  # type: ignore[arg-type]


@dataclass(frozen=True)
class Reply:
    """A node's answer to one message.

    Attributes:
        message: id of the message that it answers, as ``Post.send`` gave it.
        node: its id.
        kind: type of that message.
        content: what it sent; None where something went wrong.
        problem: what went wrong, one line.
        gone: whether the node has to join again.
        waited: seconds from sending to this reply.
        worked: of these, seconds within the node's app.
        round: that the message was of.
        clients: that it was about.
        ahead: what of another round was also asked for.

    """

    message: str
    node: int
    kind: str
    content: Content | None
    problem: str
    gone: bool
    waited: float
    worked: float
    round: int
    clients: Sequence[str]
    ahead: Ahead


@dataclass(frozen=True)
class _Sent:
    """A message that has no reply yet; ``since`` on the clock of ``time.monotonic``."""

    node: int
    kind: str
    round: int
    clients: Sequence[str]
    ahead: Ahead
    since: float


@dataclass
class Post:
    """Sends and collects through a transport.

    Attributes:
        transport: to the nodes.
        stop: asked between two looks; once true, waiting raises ``Interrupted``. None: never.

    """

    transport: Transport
    stop: Callable[[], bool] | None = None
    _sent: dict[str, _Sent] = field(default_factory=dict, init=False)
    _waiting: list[Reply] = field(default_factory=list, init=False)
    _unsent: int = field(default=0, init=False)
    _looking: float = field(default=0.0, init=False)
    """Seconds of the last look for replies."""

    def send(
        self,
        node: int,
        kind: str,
        round: int,
        content: Any,
        keep: float,
        clients: Sequence[str] = (),
        ahead: Ahead = NOTHING,
        more: More | None = None,
    ) -> str:
        """Send one message; returns its id.

        Args:
            node: to whom.
            kind: the exchange.
            round: that it is of.
            content: what ``transport`` packed.
            keep: seconds for which it may wait to be taken.
            clients: that it is about.
            ahead: what of another round is also asked for.
            more: what the request says besides.

        """
        since = time.monotonic()
        sent = self.transport.send(node, Request(kind, round, ahead, more or {}, keep), content)
        if sent is not None:
            self._sent[sent] = _Sent(node, kind, round, clients, ahead, since)
            return sent
        self._unsent += 1
        name, text = f"unsent {self._unsent}", f"{kind} could not be sent to it"
        self._waiting.append(Reply(name, node, kind, None, text, True, 0.0, 0.0, round, clients, ahead))
        return name

    def collect(self) -> list[Reply]:
        """Replies that have come since the last call.

        Raises:
            HashfedError: as ``replies``.

        """
        return list(self.replies())

    def replies(self) -> Iterator[Reply]:
        """The same one by one, each looked for when it is asked for: no more than one need be in memory.

        Raises:
            HashfedError: where the network is gone.

        """
        found, self._waiting, self._looking = self._waiting, [], 0.0
        yield from found
        for name in list(self._sent):
            sent = self._sent.get(name)
            reply = None if sent is None else self._look(name, sent)
            if reply is not None:
                self._drop(name)
                yield reply

    def _look(self, name: str, sent: _Sent) -> Reply | None:
        start = time.monotonic()
        answer = self.transport.look(name)
        self._looking += time.monotonic() - start
        return None if answer is None else _reply(name, sent, answer)

    def rest(self) -> None:
        """Between two looks: at least half of the time the network is not asked for replies.

        Raises:
            Interrupted: on a stop.

        """
        if self.stop is not None and self.stop():
            raise Interrupted
        time.sleep(min(max(POLL_SECONDS, self._looking), LONGEST_REST))

    def put_back(self, replies: Iterable[Reply]) -> None:
        """Let these be collected again."""
        self._waiting.extend(replies)

    def waits_for(self, node: int, kind: str) -> bool:
        """Whether a message of this type to this node is without reply."""
        return any((sent.node, sent.kind) == (node, kind) for sent in self._sent.values())

    def waits_for_any(self, kind: str) -> bool:
        """Whether any message of this type is without reply."""
        return any(sent.kind == kind for sent in self._sent.values())

    def waits_at(self, message: str) -> int | None:
        """The node whose reply to this message is still to be collected; None where there will be none."""
        found: list[_Sent | Reply] = [reply for reply in self._waiting if reply.message == message]
        if message in self._sent:
            found.append(self._sent[message])
        return found[0].node if found else None

    def forget(self, node: int) -> None:
        """Wait no longer for this node."""
        self._waiting = [reply for reply in self._waiting if reply.node != node]
        for name in [name for name, sent in self._sent.items() if sent.node == node]:
            self._drop(name)

    def _drop(self, name: str) -> None:
        del self._sent[name]
        self.transport.forget(name)


def _reply(name: str, sent: _Sent, answer: Answer) -> Reply:
    waited = time.monotonic() - sent.since
    return Reply(
        name,
        sent.node,
        sent.kind,
        answer.content,
        answer.problem,
        answer.gone,
        waited,
        seconds_of(answer.worked, waited),
        sent.round,
        sent.clients,
        sent.ahead,
    )
