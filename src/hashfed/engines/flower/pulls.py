"""Replies pulled one by one from Flower's Grid, so that a node can spoil or hold up nobody's but its own.

Flower takes all replies that are there from the SuperLink at once, reads them one after the other, waits for
the missing parts of each up to two hours, and raises where one is no message: the others would be lost.
"""

from concurrent.futures import Future, wait
from dataclasses import dataclass, field
from threading import Thread

from flwr.app import Message
from flwr.serverapp import Grid

PATIENCE = 2.0
"""Seconds until the other replies are looked for, while parts of one are still missing."""


@dataclass
class Pulls:
    """From the Grid of a run.

    Attributes:
        grid: of the run.

    """

    grid: Grid
    _begun: dict[str, "Future[list[Message]]"] = field(default_factory=dict, init=False)
    """Pulls of replies whose parts were not all there, by the message that they answer."""

    def look(self, message: str) -> Message | None:
        """The reply to a message; None where it is not there yet.

        Raises:
            Exception: of any kind, where what came is no message or its parts did not come.
            RunNotRunningException: where Flower has stopped the run; it is no ``Exception``.

        """
        pull = self._begun.pop(message, None)
        first = pull is None
        pull = pull or self._begin(message)
        if not wait([pull], PATIENCE if first else 0.0).done:
            self._begun[message] = pull
            return None
        # What says that it answers another message may be a node's answer in another one's name.
        return next((found for found in pull.result() if found.metadata.reply_to_message_id == message), None)

    def forget(self, message: str) -> None:
        """Wait no longer for the parts of a reply; the Grid gives up on them when it is closed."""
        self._begun.pop(message, None)

    def _begin(self, message: str) -> "Future[list[Message]]":
        found: Future[list[Message]] = Future()

        def pull() -> None:
            try:
                found.set_result(list(self.grid.pull_messages([message])))
            except BaseException as error:
                found.set_exception(error)

        Thread(target=pull, daemon=True).start()
        return found
