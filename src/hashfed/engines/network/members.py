"""Which clients are there, and on which node: nodes come, say whom they host, and go."""

import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import cast

from hashfed.engines.network.exchanges import JOIN
from hashfed.engines.network.post import Post, Reply, shorten
from hashfed.errors import HashfedError

LOOK_EVERY = 2.0
"""Seconds between two looks for new nodes."""
LONGEST_NAME = 200
"""Characters of a client's name."""
AGAIN_AFTER = 30.0
"""Seconds until a node that could not join is invited again: its texts may be there by then."""


@dataclass(frozen=True)
class Hosted:
    """Names of the clients of one node, by what they are for."""

    train: list[str]
    held_out: list[str]


@dataclass
class Members:
    """The nodes that have joined the run.

    Where several nodes name the same client, the one that joined first hosts it until it is gone: nobody
    takes over a client whose node is there.

    Attributes:
        keep: seconds for which an invitation to join may wait to be taken.
        most: clients that one node may host.
        say: told when a node could not join, and why.
        refused: why a node could not join, by node.

    """

    keep: float
    most: int
    say: Callable[[str], None] = lambda line: None
    refused: dict[int, str] = field(default_factory=dict)
    _again: dict[int, float] = field(default_factory=dict, init=False)
    _joined: dict[int, Hosted] = field(default_factory=dict, init=False)
    """In the order in which they joined."""
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

    def hosts_of_held_out(self) -> dict[int, list[str]]:
        """The held-out clients by the node that hosts them, ascending."""
        found: dict[int, list[str]] = {}
        for name in self.held_out:
            found.setdefault(self._held_out[name], []).append(name)
        return found

    def look(self, post: Post, round: int) -> None:
        """Invite nodes that are there and have not joined, and lose those that are there no longer.

        A look costs a request, so not too often. ``round``: the last one that is finished.
        """
        if time.monotonic() - self._looked < LOOK_EVERY:
            return
        self._looked = time.monotonic()
        there = post.transport.nodes()
        for node in there:
            due = self._again.get(node, 0.0) <= self._looked
            if due and node not in self._joined and not post.waits_for(node, JOIN):
                post.send(node, JOIN, round, post.transport.invitation(), self.keep)
        for node in set(self._joined) - there:
            self.lose(node)

    def answer(self, reply: Reply) -> None:
        """Note what a node replied to its invitation."""
        self.lose(reply.node)
        try:
            if reply.content is None:
                raise HashfedError(reply.problem)
            hosted = _read(reply.content.hosted(), self.most)
        except HashfedError as error:
            if self.refused.get(reply.node) != str(error):
                self.say(f"node {reply.node} could not join: {error}")
            self.refused[reply.node] = str(error)
            self._again[reply.node] = time.monotonic() + AGAIN_AFTER
            return
        self.refused.pop(reply.node, None)
        self._joined[reply.node] = hosted
        elsewhere = self._give_homes(reply.node)
        for node, clients in elsewhere.items():
            what = f"client {clients[0]}" + (f" and {len(clients) - 1} more" if len(clients) > 1 else "")
            self.say(
                f"{what} of node {reply.node}: hosted by node {node} already, which keeps it until it is gone"
            )

    def lose(self, node: int) -> None:
        """Forget a node, until it joins again; other nodes that named its clients host them from now on."""
        if self._joined.pop(node, None) is None:
            return
        self._train = {name: host for name, host in self._train.items() if host != node}
        self._held_out = {name: host for name, host in self._held_out.items() if host != node}
        for other in self._joined:
            self._give_homes(other)

    def _give_homes(self, node: int) -> dict[int, list[str]]:
        """Let a node host those of its clients that nobody hosts; returns the others by their node."""
        elsewhere: dict[int, list[str]] = {}
        hosted = self._joined[node]
        for names, homes in ((hosted.train, self._train), (hosted.held_out, self._held_out)):
            for name in names:
                home = homes.setdefault(name, node)
                if home != node:
                    elsewhere.setdefault(home, []).append(name)
        return elsewhere


def by_node(clients: Iterable[str], members: Members) -> dict[int, list[str]]:
    """Clients grouped by their nodes; those whose node is gone are left out."""
    groups: dict[int, list[str]] = {}
    for client in clients:
        node = members.node(client)
        if node is not None:
            groups.setdefault(node, []).append(client)
    return groups


def _read(names_by_kind: Mapping[str, object], most: int) -> Hosted:
    """The names in a node's reply to its invitation.

    Raises:
        HashfedError: where they are none, too many, too long, or not distinct.

    """
    hosted = Hosted(_names(names_by_kind, "train"), _names(names_by_kind, "held_out"))
    names = hosted.train + hosted.held_out
    if len(names) > most:
        raise HashfedError(f"{len(names)} clients: at most {most} on one node (flower.clients_per_node)")
    for name in names:
        if not 0 < len(name) <= LONGEST_NAME or not name.isprintable():
            raise HashfedError(
                f"client {shorten(name)!r}: a name must have from 1 to {LONGEST_NAME} printable characters"
            )
    if len(set(names)) < len(names):
        raise HashfedError("its clients' names are not distinct")
    return hosted


def _names(names_by_kind: Mapping[str, object], kind: str) -> list[str]:
    found = names_by_kind.get(kind)
    if not isinstance(found, list) or not all(isinstance(name, str) for name in found):
        raise HashfedError(f"no names of {kind} clients in its reply")
    return cast(list[str], found)
