"""Messages to nodes and their replies, each as soon as it is there.

``Grid.send_and_receive`` waits for all and sleeps three seconds between two looks; here the caller decides
how long it waits, and what a node that stays silent costs it.
"""

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import wait
from dataclasses import dataclass, field
from typing import TypeVar

from flwr.app import ConfigRecord, Message, RecordDict
from flwr.serverapp import Grid

from hashfed.engines.background import begin
from hashfed.engines.flower import records
from hashfed.engines.flower.pulls import Pulls, SuperLinkError
from hashfed.errors import one_line
from hashfed.stopping import Interrupted

Answer = TypeVar("Answer")

REASONS = {
    1: "its ClientApp could not be loaded",
    2: "its ClientApp raised an exception",
    3: "its reply was lost",
    4: "its reply was lost",
    5: "its node went offline",
    7: "it refused the app",
    8: "its process died",
}
"""Flower's error codes (``flwr.common.constant.ErrorCode``) as they are told."""
GONE = {3, 4, 5, 8}
"""Those after which the node's memory of this run must be doubted."""

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
        worked: of these, seconds within the node's ClientApp.
        round: that the message was of.
        clients: that it was about.
        asked: the clients that were also to declare, and for which round.

    """

    message: str
    node: int
    kind: str
    content: RecordDict | None
    problem: str
    gone: bool
    waited: float
    worked: float
    round: int
    clients: Sequence[str]
    asked: tuple[int, list[str]]


More = Mapping[str, int | str | list[str] | list[int]]
"""What a request says besides."""


def make_request(
    setup: str, round: int, declare: tuple[int, list[str]], more: More | None = None
) -> ConfigRecord:
    """What every message to a node says: the run's checksum, the round, who is also to declare, and more."""
    request: dict[str, int | str | list[str] | list[int]] = {"setup": setup, "round": round}
    if declare[1]:
        request |= {"declare_round": declare[0], "declare": declare[1]}
    return ConfigRecord(request | dict(more or {}))  # type: ignore[arg-type]


@dataclass(frozen=True)
class _Sent:
    """A message that has no reply yet; ``since`` on the clock of ``time.monotonic``."""

    node: int
    kind: str
    round: int
    clients: Sequence[str]
    asked: tuple[int, list[str]]
    since: float


@dataclass
class Post:
    """Sends and collects through Flower's ``Grid``.

    Attributes:
        grid: of the run.
        setup: checksum that every request carries, so that a node of another run refuses it.
        stop: asked between two looks; once true, waiting raises ``Interrupted``. None: never.
        down: bytes sent so far, as Flower serializes them.
        up: bytes received so far.

    """

    grid: Grid
    setup: str
    stop: Callable[[], bool] | None = None
    down: int = 0
    up: int = 0
    _sent: dict[str, _Sent] = field(default_factory=dict, init=False)
    _waiting: list[Reply] = field(default_factory=list, init=False)
    _unsent: int = field(default=0, init=False)
    _looking: float = field(default=0.0, init=False)
    """Seconds of the last look for replies."""

    def __post_init__(self) -> None:
        self._pulls = Pulls(self.grid)

    def send(
        self,
        node: int,
        kind: str,
        round: int,
        content: RecordDict,
        keep: float,
        clients: Sequence[str] = (),
        declare: tuple[int, list[str]] = (0, []),
        more: More | None = None,
    ) -> str:
        """Send one message; returns its id.

        Args:
            node: to whom.
            kind: its type.
            round: that it is of.
            content: its records.
            keep: seconds for which Flower keeps it.
            clients: that it is about.
            declare: for which round, and which clients are also to declare.
            more: what the request says besides.

        """
        content["request"] = make_request(self.setup, round, declare, more)
        self.down += records.size(content)
        message = Message(content, dst_node_id=node, message_type=kind, ttl=keep, group_id=str(round))
        since = time.monotonic()
        ids = self._ask(lambda: list(self.grid.push_messages([message])))
        if len(ids) == 1 and ids[0]:
            self._sent[ids[0]] = _Sent(node, kind, round, clients, declare, since)
            return str(ids[0])
        self._unsent += 1
        name, text = f"unsent {self._unsent}", f"{kind} could not be sent to it"
        self._waiting.append(Reply(name, node, kind, None, text, True, 0.0, 0.0, round, clients, declare))
        return name

    def nodes(self) -> set[int]:
        """Ids of the nodes that are online.

        Raises:
            Interrupted: on a stop.

        """
        return self._ask(lambda: set(self.grid.get_node_ids()))

    def _ask(self, question: Callable[[], Answer]) -> Answer:
        """What the SuperLink answers; Flower asks for ever one that has ended, so a stop is looked for."""
        if self.stop is None:
            return question()
        answer = begin(question)
        while not wait([answer], POLL_SECONDS).done:
            if self.stop():
                raise Interrupted
        return answer.result()

    def collect(self) -> list[Reply]:
        """Replies that have come since the last call.

        Raises:
            SuperLinkError: as ``replies``.

        """
        return list(self.replies())

    def replies(self) -> Iterator[Reply]:
        """The same one by one, each looked for when it is asked for: no more than one need be in memory.

        Raises:
            SuperLinkError: where the SuperLink answers nothing, for long.

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
        try:
            message = self._pulls.look(name)
            return None if message is None else self._reply(name, message, sent)
        except SuperLinkError:
            raise
        except Exception as error:
            return self._reply(name, f"its reply cannot be read ({one_line(error)})", sent)
        finally:
            self._looking += time.monotonic() - start

    def rest(self) -> None:
        """Between two looks: at least half of the time the SuperLink is not asked for replies.

        Raises:
            Interrupted: on a stop.

        """
        if self.stop is not None and self.stop():
            raise Interrupted
        time.sleep(min(max(POLL_SECONDS, self._looking), LONGEST_REST))

    def put_back(self, replies: Iterable[Reply]) -> None:
        """Let these be collected again."""
        self._waiting.extend(replies)

    def _reply(self, name: str, message: Message | str, sent: _Sent) -> Reply:
        waited = time.monotonic() - sent.since
        content, problem, gone, worked = None, "", False, 0.0
        if isinstance(message, str):
            problem = shorten(message)
        elif not message.has_content():
            code, detail = message.error.code, shorten(message.error.reason or "")
            problem = f"{REASONS.get(code, f'Flower reports error {code}')} ({detail})"
            gone = code in GONE
        else:
            self.up += records.size(message.content)
            timing = message.content.metric_records.get("time")
            worked = 0.0 if timing is None else seconds_of(timing.get("seconds"), waited)
            error = message.content.config_records.get("error")
            if error is None:
                content = message.content
            else:
                problem, gone = shorten(str(error.get("text"))), bool(error.get("not_joined"))
        return Reply(
            name,
            sent.node,
            sent.kind,
            content,
            problem,
            gone,
            waited,
            worked,
            sent.round,
            sent.clients,
            sent.asked,
        )

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
        self._pulls.forget(name)
