"""Flower's Grid within one process: ServerApp and ClientApp as they are, and no sockets."""

import time
from collections.abc import Callable, Iterable
from pathlib import Path

from flwr.app import ConfigRecord, Context, Error, Message, RecordDict, UserConfig
from flwr.clientapp import ClientApp
from flwr.common.serde import message_from_proto, message_to_proto
from flwr.proto.node_pb2 import NodeInfo
from flwr.serverapp import Grid
from flwr.supercore.run import Run
from flwr.supercore.task_identity import TaskIdentity

from hashfed.engines.flower.transport import FlowerTransport
from hashfed.engines.network.post import Post

Interfere = Callable[[int, Message], Message | None]
"""Changes a node's answer; None: the node does not answer."""
OFFLINE = 5
"""Flower's code for an answer of a node that is gone."""


def partitions(source: str | Path, count: int = 3) -> list[UserConfig]:
    """Settings of nodes that share the clients of a source."""
    shared: UserConfig = {"num-partitions": count, "source": str(source)}
    return [{**shared, "partition-id": part} for part in range(count)]


def post_through(grid: Grid) -> Post:
    """The server's post through a Grid, of a run that no node knows."""
    return Post(FlowerTransport(grid, RecordDict({"setup": ConfigRecord({"digest": "run"})})))


class LoopbackGrid(Grid):
    """Nodes that work as soon as they are written to; those taken out of ``contexts`` are offline.

    Attributes:
        sent: every message with the number of its node, in order.
        answered: every answer, likewise.

    """

    def __init__(
        self,
        app: ClientApp,
        nodes: Iterable[UserConfig],
        interfere: Interfere = lambda node, reply: reply,
        interrupt: Callable[[int, Message], None] = lambda node, message: None,
        delay: Callable[[int, Message], float] = lambda node, reply: 0.0,
    ) -> None:
        """Set it up.

        Args:
            app: of all nodes.
            nodes: their settings; they are numbered from 1.
            interfere: with answers.
            interrupt: called before a node works on a message.
            delay: seconds until an answer can be collected.

        """
        TaskIdentity.task_id = TaskIdentity.run_id = TaskIdentity.node_id = 1
        self.app, self.interfere, self.interrupt, self.delay = app, interfere, interrupt, delay
        self.contexts = {
            number: Context(1, number, config, RecordDict(), {})
            for number, config in enumerate(nodes, start=1)
        }
        self.sent: list[tuple[int, Message]] = []
        self.answered: list[tuple[int, Message]] = []
        self._replies: dict[str, tuple[float, Message]] = {}

    def forget(self) -> None:
        """What nodes keep in their contexts, as where a new run of Flower begins."""
        for context in self.contexts.values():
            context.state.clear()

    def set_run(self, run: Run) -> None:
        """Nothing: there is one."""

    @property
    def run(self) -> Run:
        """None."""
        raise NotImplementedError

    def create_message(self, *_: object, **__: object) -> Message:
        """Deprecated in Flower."""
        raise NotImplementedError

    def get_node_ids(self) -> Iterable[int]:
        """All nodes."""
        return list(self.contexts)

    def get_nodes(self) -> Iterable[NodeInfo]:
        """Nobody asks."""
        raise NotImplementedError

    def push_messages(self, messages: Iterable[Message]) -> Iterable[str]:
        """Deliver each, through protobuf as in Flower's simulation, and keep the answer."""
        ids = []
        for message in messages:
            node = message.metadata.dst_node_id
            name = message.metadata.__dict__["_message_id"] = str(len(self.sent))
            self.sent.append((node, message))
            ids.append(name)
            received = message_from_proto(message_to_proto(message))
            if node in self.contexts:
                try:
                    self.interrupt(node, received)
                    reply = self.app(received, self.contexts[node])
                except Exception as error:
                    reply = Message(Error(2, f"{type(error)}:<{str(error)!r}>"), reply_to=received)
            else:
                reply = Message(Error(OFFLINE, "node is not available"), reply_to=received)
            changed = self.interfere(node, reply)
            if changed is not None:
                self.answered.append((node, changed))
                due = time.monotonic() + self.delay(node, changed)
                self._replies[name] = due, message_from_proto(message_to_proto(changed))
        return ids

    def pull_messages(self, message_ids: Iterable[str]) -> Iterable[Message]:
        """Those that are there."""
        now = time.monotonic()
        due = [name for name in message_ids if name in self._replies and self._replies[name][0] <= now]
        return [self._replies.pop(name)[1] for name in due]

    def send_and_receive(
        self, messages: Iterable[Message], *, timeout: float | None = None
    ) -> Iterable[Message]:
        """Both."""
        return self.pull_messages(self.push_messages(messages))
