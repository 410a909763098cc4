"""Messages to nodes as Flower's, through its ``Grid``.

``Grid.send_and_receive`` waits for all and sleeps three seconds between two looks; ``pulls`` takes each reply
by itself.
"""

from collections.abc import Callable, Mapping
from concurrent.futures import wait
from dataclasses import dataclass
from typing import TypeVar

from flwr.app import ConfigRecord, Message, RecordDict
from flwr.serverapp import Grid

from hashfed.engines.background import begin
from hashfed.engines.flower import records
from hashfed.engines.flower.pulls import Pulls, SuperLinkError
from hashfed.engines.network.exchanges import asked_ahead
from hashfed.engines.network.parcel import Parcel
from hashfed.engines.network.post import POLL_SECONDS, shorten
from hashfed.engines.network.transport import Ahead, Answer, More, Request
from hashfed.errors import one_line
from hashfed.stopping import Interrupted

Found = TypeVar("Found")

REASONS = {
    1: "its ClientApp could not be loaded",
    2: "its ClientApp raised an exception",
    3: "its reply was lost",
    4: "its reply was lost",
    5: "its node went offline",
    7: "it refused the app",
    8: "its process died",
}
"""Flower's error codes (``flwr.common.constant.ErrorCode``) as texts."""
GONE = {3, 4, 5, 8}
"""Those after which the node's memory of this run must be doubted."""


def make_request(setup: str, round: int, ahead: Ahead, more: More | None = None) -> ConfigRecord:
    """What every message to a node says: the run's checksum, the round, what is asked for ahead, and more."""
    request: dict[str, int | str | list[str] | list[int]] = {"setup": setup, "round": round}
    if ahead.clients:
        request |= {asked_ahead(ahead.step): ahead.round, ahead.step: ahead.clients}
    return ConfigRecord(request | dict(more or {}))  # type: ignore[arg-type]


@dataclass(frozen=True)
class FlowerContent:
    """Records that a node sent."""

    records: RecordDict

    def parcel(self) -> Parcel:
        """What ``records.pack`` made.

        Raises:
            HashfedError: where the records are none of hashfed's.

        """
        return records.unpack(self.records)

    def hosted(self) -> Mapping[str, object]:
        """Names of clients, unchecked."""
        return self.records.config_records.get("names", ConfigRecord())


@dataclass
class FlowerTransport:
    """Through the Grid of a run.

    Attributes:
        grid: of the run.
        setup: what a node is told when it joins (``node.make_setup``); every request carries its checksum, so
            that a node of another run refuses it.
        stop: asked while the SuperLink does not answer; once true, that raises ``Interrupted``. None: never.
        down: bytes sent so far, as Flower serializes them.
        up: bytes received so far.

    """

    grid: Grid
    setup: RecordDict
    stop: Callable[[], bool] | None = None
    down: int = 0
    up: int = 0

    def __post_init__(self) -> None:
        self._pulls = Pulls(self.grid)
        self._digest = str(self.setup.config_records["setup"]["digest"])

    def invitation(self) -> RecordDict:
        """The run's configuration and names of rows."""
        return self.setup

    def pack(self, parcel: Parcel) -> RecordDict:
        """The parcel as records."""
        return records.pack(parcel)

    def send(self, node: int, request: Request, content: RecordDict) -> str | None:
        """Send one message; returns its id, None where Flower gives none.

        Raises:
            Interrupted: on a stop.

        """
        content = RecordDict(dict(content.items()))
        content["request"] = make_request(self._digest, request.round, request.ahead, request.more)
        self.down += records.size(content)
        group = str(request.round)
        message = Message(
            content, dst_node_id=node, message_type=request.kind, ttl=request.keep, group_id=group
        )
        ids = self._ask(lambda: list(self.grid.push_messages([message])))
        return str(ids[0]) if len(ids) == 1 and ids[0] else None

    def nodes(self) -> set[int]:
        """Ids of the nodes that are online.

        Raises:
            Interrupted: on a stop.

        """
        return self._ask(lambda: set(self.grid.get_node_ids()))

    def _ask(self, question: Callable[[], Found]) -> Found:
        """What the SuperLink answers; Flower asks for ever one that has ended, so a stop is looked for."""
        if self.stop is None:
            return question()
        answer = begin(question)
        while not wait([answer], POLL_SECONDS).done:
            if self.stop():
                raise Interrupted
        return answer.result()

    def look(self, message: str) -> Answer | None:
        """The answer to a message; None where it is not there yet.

        Raises:
            SuperLinkError: where the SuperLink answers nothing, for long.

        """
        try:
            found = self._pulls.look(message)
            return None if found is None else self._answer(found)
        except SuperLinkError:
            raise
        except Exception as error:
            return Answer(None, shorten(f"its reply cannot be read ({one_line(error)})"))

    def _answer(self, message: Message) -> Answer:
        if not message.has_content():
            code, detail = message.error.code, shorten(message.error.reason or "")
            reason = REASONS.get(code, f"Flower reports error {code}")
            return Answer(None, f"{reason} ({detail})", code in GONE)
        self.up += records.size(message.content)
        timing = message.content.metric_records.get("time")
        worked = 0.0 if timing is None else timing.get("seconds")
        error = message.content.config_records.get("error")
        if error is None:
            return Answer(FlowerContent(message.content), worked=worked)
        return Answer(None, shorten(str(error.get("text"))), bool(error.get("not_joined")), worked)

    def forget(self, message: str) -> None:
        """Ask no more about a message."""
        self._pulls.forget(message)
