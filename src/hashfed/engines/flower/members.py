"""Which clients are there, and on which node: nodes come, say whom they host, and go."""

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import cast

from flwr.app import ConfigRecord, RecordDict

from hashfed.engines.flower.client_app import JOIN
from hashfed.engines.flower.post import Post, Reply

LOOK_EVERY = 2.0
"""Seconds between two looks for new nodes."""
AGAIN_AFTER = 30.0
"""Seconds until a node that could not join is invited again: its texts may be there by then."""


@dataclass
class Members:
    """The nodes that have joined the run.

    Attributes:
        setup: what a node is told when it joins.
        keep: seconds for which Flower keeps the invitation to join.
        say: told when a node could not join, and why.
        refused: why a node could not join, by node.

    """

    setup: RecordDict
    keep: float
    say: Callable[[str], None] = lambda line: None
    refused: dict[int, str] = field(default_factory=dict)
    _again: dict[int, float] = field(default_factory=dict, init=False)
    _joined: set[int] = field(default_factory=set, init=False)
    _train: dict[str, int] = field(default_factory=dict, init=False)
    _held_out: dict[str, int] = field(default_factory=dict, init=False)
    _looked: float = field(default=-LOOK_EVERY, init=False)

    @property
    def train(self) -> list[str]:
        """Names of the training clients, ascending."""
        return sorted(self._train)

    @property
    def held_out(self) -> list[str]:
        """Names of the held-out clients, ascending."""
        return sorted(self._held_out)

    def node(self, client: str) -> int | None:
        """The node that hosts a client; None where it is gone."""
        return self._train.get(client)

    def hosts_of_held_out(self) -> set[int]:
        """Nodes that host held-out clients."""
        return set(self._held_out.values())

    def look(self, post: Post) -> None:
        """Invite nodes that are there and have not joined; a look costs a request, so not too often."""
        if time.monotonic() - self._looked < LOOK_EVERY:
            return
        self._looked = time.monotonic()
        for node in post.grid.get_node_ids():
            due = self._again.get(node, 0.0) <= self._looked
            if due and node not in self._joined and not post.waits_for(node, JOIN):
                post.send(node, JOIN, 0, RecordDict(dict(self.setup.items())), self.keep)

    def answer(self, reply: Reply) -> None:
        """Note what a node replied to its invitation.

        A client that another node hosted moves here: that node was started anew, under another id, or two
        nodes were given the same client's name.
        """
        self.lose(reply.node)
        names = None if reply.content is None else reply.content.config_records.get("names")
        if names is None:
            problem = reply.problem or "no names in its reply"
            if self.refused.get(reply.node) != problem:
                self.say(f"node {reply.node} could not join: {problem}")
            self.refused[reply.node] = problem
            self._again[reply.node] = time.monotonic() + AGAIN_AFTER
            return
        self.refused.pop(reply.node, None)
        self._joined.add(reply.node)
        moved: dict[int, list[str]] = {}
        for kind, known in (("train", self._train), ("held_out", self._held_out)):
            for name in _names(names, kind):
                if name in known:
                    moved.setdefault(known[name], []).append(name)
                known[name] = reply.node
        for node, clients in moved.items():
            what = f"client {clients[0]}" + (f" and {len(clients) - 1} more" if len(clients) > 1 else "")
            self.say(
                f"{what} of node {node} joined again with node {reply.node}, which hosts them from now on"
            )

    def lose(self, node: int) -> None:
        """Forget a node, until it joins again."""
        self._joined.discard(node)
        self._train = {name: host for name, host in self._train.items() if host != node}
        self._held_out = {name: host for name, host in self._held_out.items() if host != node}


def by_node(clients: Iterable[str], members: Members) -> dict[int, list[str]]:
    """Clients grouped by their nodes; those whose node is gone are left out."""
    groups: dict[int, list[str]] = {}
    for client in clients:
        node = members.node(client)
        if node is not None:
            groups.setdefault(node, []).append(client)
    return groups


def _names(record: ConfigRecord, kind: str) -> list[str]:
    found = record.get(kind, [])
    if not isinstance(found, list):
        return []
    return [name for name in cast(list[object], found) if isinstance(name, str) and name]
