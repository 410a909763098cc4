"""Replies pulled one by one from Flower's Grid, so that a node can spoil or hold up nobody's but its own.

Flower takes all replies that are there from the SuperLink at once, reads them one after the other, waits for
the missing parts of each up to two hours, and raises where one is no message: the others would be lost.
"""

import time
from concurrent.futures import Future, wait
from dataclasses import dataclass, field

import httpx
from flwr.app import Message
from flwr.serverapp import Grid

from hashfed.engines.background import begin
from hashfed.errors import HashfedError, one_line

PATIENCE = 0.05
"""Seconds until the next reply is looked for; one that takes longer is taken at a later look."""
TROUBLE_SECONDS = 30.0
"""For which the SuperLink may fail to answer about a reply, until that counts as its node's fault; where it
answers about nothing else either, the run ends."""
TROUBLE = (httpx.HTTPError, OSError, RuntimeError, MemoryError)
"""The SuperLink's fault or this process's, as far as anybody can tell; any other error is the reply's."""

AT_ONCE = 8
"""Pulls that are on their way at a time, so that what has come of them bounds the memory."""
HANGING_SECONDS = 5.0
"""After which a pull no longer counts among them: parts of its reply are missing."""


class SuperLinkError(HashfedError):
    """The SuperLink answers nothing; the run can be resumed."""


@dataclass(frozen=True)
class _Pull:
    """One that was begun at ``since``, on the clock of ``time.monotonic``."""

    result: "Future[list[Message]]"
    since: float


@dataclass
class Pulls:
    """From the Grid of a run.

    Attributes:
        grid: of the run.

    """

    grid: Grid
    _begun: dict[str, _Pull] = field(default_factory=dict, init=False)
    """Pulls that were not done at the last look, by the message whose reply they pull."""
    _trouble: dict[str, float] = field(default_factory=dict, init=False)
    """Since when, by message."""

    def look(self, message: str) -> Message | None:
        """The reply to a message; None where it is not there yet.

        Raises:
            Exception: of any kind, where what came is no message, or its parts did not come.
            SuperLinkError: where the SuperLink answers nothing, for long.
            RunNotRunningException: where Flower has stopped the run; it is no ``Exception``.

        """
        try:
            found = self._pulled(message)
        except TROUBLE as error:
            since = self._trouble.setdefault(message, time.monotonic())
            if time.monotonic() - since <= TROUBLE_SECONDS:
                return None
            if not self._superlink_answers():
                raise SuperLinkError(
                    f"the SuperLink does not answer, for {TROUBLE_SECONDS:g} s ({one_line(error)}); "
                    "the same command goes on from the last saved round"
                ) from None
            raise
        if found is not None:
            self._trouble.pop(message, None)
        # What says that it answers another message may be a node's answer in another one's name.
        return next((one for one in found or () if one.metadata.reply_to_message_id == message), None)

    def _superlink_answers(self) -> bool:
        """Whether it does where no node has a say in the answer."""
        try:
            self.grid.get_node_ids()
        except TROUBLE:
            return False
        return True

    def forget(self, message: str) -> None:
        """Ask no more about a message; where parts are missing, the Grid gives up when it is closed."""
        self._begun.pop(message, None)
        self._trouble.pop(message, None)

    def _pulled(self, message: str) -> list[Message] | None:
        """What one pull gave; None where it is not done."""
        pull, patience, now = self._begun.pop(message, None), 0.0, time.monotonic()
        if pull is None:
            if sum(now - other.since < HANGING_SECONDS for other in self._begun.values()) >= AT_ONCE:
                return None
            result = begin(lambda: list(self.grid.pull_messages([message])))
            pull, patience = _Pull(result, now), PATIENCE
        if not wait([pull.result], patience).done:
            self._begun[message] = pull
            return None
        return pull.result.result()
