"""One round over the network: each node goes on to its next exchange as soon as it has answered the last.

    declare     rows that the clients' data needs; already asked for while the last round trained
    hash        welcome down, keys up; spared where the method asks for no keys
    train       rows down, update up; the next cohort's declarations ride along

Where clients select by themselves (``selection.delivery``) there is only ``train``: all rows, or the address
of the round's slices, down, update up.

No node waits for another one, and none but the sum of updates waits for all.
"""

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import cast

import numpy as np
from flwr.app import RecordDict

from hashfed.config import Config
from hashfed.engines.budget import device_budget, sends_everything
from hashfed.engines.client_round import ClientReport, asks_for_keys
from hashfed.engines.flower import records
from hashfed.engines.flower.client_app import DECLARE, HASH, JOIN, TRAIN, USED
from hashfed.engines.flower.members import Members, by_node
from hashfed.engines.flower.post import More, Post, Reply, seconds_of, shorten
from hashfed.engines.flower.records import Parcel
from hashfed.engines.flower.replies import open_reply, take_report
from hashfed.engines.flower.waiting import WaitingUpdates
from hashfed.engines.server_round import ServerRound, accept_update
from hashfed.errors import HashfedError, one_line
from hashfed.federated import wire
from hashfed.federated.checks import Limits, ModelShape, RowsSent, check_declare, check_keys, check_update
from hashfed.federated.client import kept_rows
from hashfed.federated.messages import ClientKeys, Declare, Manifest, Message, SelectedRows, Update
from hashfed.federated.slices import Wanted
from hashfed.retrieval.planes import Tail
from hashfed.tasks.registry import make_task

OWN_WORK_SECONDS = 3600
"""More than the server itself works in a round."""


@dataclass
class Declarations:
    """Those of one cohort, which may come while the round before is still played.

    Attributes:
        round: that they are for.
        cohort: names, ascending.
        asked: by client, the message that asked for it last.
        there: those that have come.
        failed: why one will not come.
        answered: by client, the node that one of these came from.

    """

    round: int
    cohort: list[str]
    asked: dict[str, str] = field(default_factory=dict)
    there: dict[str, Declare] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)
    answered: dict[str, int] = field(default_factory=dict)

    def drop_of_other_nodes(self, members: Members) -> None:
        """Forget what a node said of a client that it does not host now: the one that does is asked."""
        for name, node in list(self.answered.items()):
            if members.node(name) != node:
                del self.answered[name]
                self.there.pop(name, None)
                self.failed.pop(name, None)


@dataclass(frozen=True)
class Owed:
    """What the server waits for from a client: a node's answer to an exchange, and to which message."""

    node: int
    exchange: str
    message: str


@dataclass
class RoundPlay:
    """The server in one round.

    Attributes:
        config: of the run.
        post: to the nodes.
        members: who is there.
        server: the server's answers.
        declarations: of this round's cohort.
        following: of the next round's; None where there is none, or nobody declares.
        reports: of clients whose update has come, by name.
        failed: why an update will not come, by name.
        erring: nodes that answered with errors, and are there.
        seconds: of the server's own work, and of the slowest node's.
        clipped: updates that were longer than ``server.clip``.
        manifest: where the round's slices are and which one lists them; None where rows are sent.
        used: by client, the round of its last update that was used; None without error feedback.

    """

    config: Config
    post: Post
    members: Members
    server: ServerRound
    declarations: Declarations
    following: Declarations | None
    reports: dict[str, ClientReport] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)
    erring: set[int] = field(default_factory=set)
    seconds: dict[str, float] = field(default_factory=dict)
    clipped: int = 0
    manifest: tuple[str, Wanted] | None = None
    used: Mapping[str, int] | None = None
    _sent: dict[str, RowsSent] = field(default_factory=dict, init=False)
    _tails: dict[str, Tail] = field(default_factory=dict, init=False)
    """Of clients whose update waits for its turn."""
    _owed: dict[str, Owed] = field(default_factory=dict, init=False)
    _end: float = field(default=0.0, init=False)
    """Of the round, on the clock of ``time.monotonic``."""

    def __post_init__(self) -> None:
        parameters = self.server.parameters
        body = {name: tuple(value.shape) for name, value in parameters.body.items()}
        size, dimension = parameters.rows.shape
        self._shape, self._limits = ModelShape(size, dimension, body), client_limits(self.config)
        self._budget = device_budget(self.config, size)  # a mistake in it is nobody's but the user's
        self._updates = WaitingUpdates(self.config.folder())
        index = self.server.index
        self._asks = index is not None and asks_for_keys(self.config, index.encoder.kind)

    @property
    def round(self) -> int:
        """Its number."""
        return self.server.round

    def updates(self) -> Iterator[tuple[Update, Tail | None]]:
        """Those of the clients that answer in time, in order of names, each as soon as it is its turn.

        With each comes the tail that its client was sent planes of, if it was.

        The deadline is for the nodes: the server's own work, and what the caller does between two updates,
        do not count, and what has come by then is read. At the end ``failed`` says who is missing.
        """
        self._start()
        self._end = time.monotonic() + self.config.flower.deadline
        try:
            for name in self.declarations.cohort:
                while name not in self._updates and name not in self.failed:
                    late = time.monotonic() >= self._end
                    if self._step():
                        continue
                    if late:
                        self._give_up()
                    else:
                        self.post.rest()
                if name in self._updates:
                    with self._own_work():
                        yield self._updates.take(name), self._tails.pop(name, None)
        finally:
            self._updates.close()

    @contextmanager
    def _own_work(self) -> Iterator[None]:
        """The deadline waits for the end of this block."""
        start = time.monotonic()
        yield
        self._end += time.monotonic() - start

    def _start(self) -> None:
        cohort = self.declarations.cohort
        self.declarations.drop_of_other_nodes(self.members)
        for name in cohort:
            if self.members.node(name) is None:
                self._fail(name, "its node is gone")
            elif name in self.declarations.failed:
                self._fail(name, self.declarations.failed[name])
                self.erring.add(self.declarations.answered[name])
        if self.config.selection.delivery != "on-demand":
            self._send_to_all([name for name in cohort if name not in self.failed])
            return
        if sends_everything(self.config):
            size = self._shape.size
            for name in cohort:
                self.declarations.there[name] = Declare(self.round, np.empty(0, np.int32), size)
        waiting = [name for name in cohort if name not in self.failed]
        ready = [name for name in waiting if name in self.declarations.there]
        for node, names in by_node(waiting, self.members).items():
            due = self._to_be_asked(self.declarations, names)
            if due:
                self._ask_to_declare(node, self.declarations, due)
        for name in waiting:
            if name not in ready:
                node = cast(int, self.members.node(name))
                self._owed[name] = Owed(node, DECLARE, self.declarations.asked[name])
        for node, names in by_node(ready, self.members).items():
            self._welcome(node, names)
        if self.following is not None:
            # Nodes without a client in this round need not wait for its end.
            busy = set(by_node(waiting, self.members))
            for node, names in by_node(self.following.cohort, self.members).items():
                due = self._to_be_asked(self.following, names)
                if node not in busy and due:
                    self._ask_to_declare(node, self.following, due)

    def _send_to_all(self, names: list[str]) -> None:
        """One message for everybody, who selects and trains: a broadcast, or where its slices are."""
        broadcast = self.config.selection.delivery == "broadcast"
        message = self.server.broadcast() if broadcast else None
        shared: dict[str, Message] = {} if message is None else {message.kind: message}
        shared_bytes = {} if message is None else {message.kind: wire.size(message)}
        more: More = {}
        if self.manifest is not None:
            where, manifest = self.manifest
            more = slices_request(where, manifest)
            shared_bytes = {Manifest.kind: manifest.size}
        sent, packed = self._rows_of_a_selector(), records.pack(Parcel(self.round, shared=shared))
        for node, hosted in by_node(names, self.members).items():
            for name in hosted:
                self.reports[name] = ClientReport(name, dict(shared_bytes))
                self._sent[name] = sent
            content = RecordDict(dict(packed.items()))
            request = {**more, TRAIN: hosted, **self._feedback(hosted)}
            sent_as = self.post.send(node, TRAIN, self.round, content, self._keep, hosted, more=request)
            self._owe(hosted, node, TRAIN, sent_as)

    def _rows_of_a_selector(self) -> RowsSent:
        """What is known of the rows of a client that selects by itself."""
        most = min(max(self._budget, self._limits.own), self._shape.size)
        return RowsSent(None, 0, most, not sends_everything(self.config))

    def _to_be_asked(self, declarations: Declarations, names: list[str]) -> list[str]:
        """Those whose declaration is neither there nor on its way from the node that hosts them now."""
        return [
            name
            for name in names
            if name not in declarations.there
            and name not in declarations.failed
            and self.post.waits_at(declarations.asked.get(name, "")) != self.members.node(name)
        ]

    def _ask_to_declare(self, node: int, declarations: Declarations, names: list[str]) -> None:
        content, asked = records.pack(Parcel(self.round)), (declarations.round, names)
        sent_as = self.post.send(node, DECLARE, self.round, content, self._keep, declare=asked)
        declarations.asked |= dict.fromkeys(names, sent_as)

    @property
    def _keep(self) -> float:
        # The deadline waits for the server's own work, however long that is; so does Flower.
        return self.config.flower.deadline + OWN_WORK_SECONDS

    def _step(self) -> bool:
        """Look for replies once, one after the other; whether there were any."""
        self.members.look(self.post, self.round - 1)
        found = False
        for reply in self.post.replies():
            found = True
            with self._own_work():
                if reply.kind == JOIN:
                    self.members.answer(reply)
                else:
                    self._answer(reply)
        return found

    def _answer(self, reply: Reply) -> None:
        slowest = self.seconds.get(f"{reply.kind}_client", 0.0)
        self.seconds[f"{reply.kind}_client"] = max(slowest, reply.worked)
        waited = self.seconds.get(f"{reply.kind}_wait", 0.0)
        self.seconds[f"{reply.kind}_wait"] = max(waited, reply.waited)
        owing = [name for name, owed in self._owed.items() if owed.message == reply.message]
        try:
            parcel = open_reply(reply)
        except HashfedError as error:
            # Whom it was asked to declare for the next round is asked again: nothing is on its way.
            self._fail_all(owing, str(error))
            if reply.gone:
                self._lose(reply.node, str(error))
            return
        self._take_declarations(reply, parcel)
        by_exchange: dict[str, list[str]] = {}
        for name in owing:
            if name in self._owed:
                by_exchange.setdefault(self._owed[name].exchange, []).append(name)
        if DECLARE in by_exchange:
            self._welcome(reply.node, by_exchange[DECLARE])
        if HASH in by_exchange:
            self._send_rows(reply.node, by_exchange[HASH], parcel, reply.waited)
        for name in by_exchange.get(TRAIN, []):
            self._take_update(name, parcel, reply.waited)

    def _take_declarations(self, reply: Reply, parcel: Parcel) -> None:
        """Of this cohort or the next, whichever the request asked for."""
        round, names = reply.asked
        declarations = self.declarations if self.declarations.round == round else self.following
        if declarations is None or declarations.round != round:
            return
        for name in names:
            if declarations.asked.get(name) != reply.message:
                continue  # another node was asked since
            declarations.answered[name] = reply.node
            with _checking() as checked:
                message = parcel.messages.get(name, {}).get(Declare.kind)
                if message is None:
                    raise HashfedError(parcel.problems.get(name, "no declaration in its answer"))
                declared = cast(Declare, message)
                check_declare(declared, round, self._shape, self._limits)
            if not checked.problem:
                declarations.there[name] = declared
                continue
            declarations.failed[name] = shorten(checked.problem)
            if declarations is self.declarations:
                self._fail(name, declarations.failed[name])

    def _welcome(self, node: int, names: list[str]) -> None:
        """Step 2; with step 4 in the same message where no keys are asked for."""
        parcel = Parcel(self.round)
        for name in names:
            declared = self.declarations.there[name]
            report = self.reports[name] = ClientReport(name)
            report.own = declared.own.astype(np.int64)
            if not sends_everything(self.config):
                self._count(report, declared)
            welcome = self.server.welcome(declared)
            self._count(report, welcome)
            parcel.add(name, welcome)
            if not self._asks:
                parcel.add(name, self._rows_for(name, None))
        if self._asks:
            self._send(node, HASH, parcel)
        else:
            self._send(node, TRAIN, parcel)

    def _send_rows(self, node: int, names: Sequence[str], answered: Parcel, waited: float) -> None:
        """Step 4: from the keys of each client to its rows."""
        parcel = Parcel(self.round)
        for name in names:
            with _checking() as checked:
                message = answered.messages.get(name, {}).get(ClientKeys.kind)
                if message is None:
                    raise HashfedError(answered.problems.get(name, "no keys in its answer"))
                keys = cast(ClientKeys, message)
                check_keys(keys, self.round, self._limits, self.server.encoder, self.server.sketcher)
            if checked.problem:
                self._fail(name, checked.problem)
                continue
            self._count(self.reports[name], keys)
            seconds = seconds_of(answered.reports.get(name, {}).get("hash_seconds"), waited)
            self.reports[name].seconds["hash"] = seconds
            try:
                parcel.add(name, self._rows_for(name, keys))
            except HashfedError as error:  # keys that do not fit the index, which alone can tell
                self._fail(name, str(error))
        self._send(node, TRAIN, parcel)

    def _rows_for(self, name: str, keys: ClientKeys | None) -> SelectedRows:
        declared, report = self.declarations.there[name], self.reports[name]
        with report.timed("retrieve"):
            selected, tail = self.server.select(name, declared, keys)
        self._count(report, selected)
        self._sent[name] = replace(_rows_sent(declared, selected, self._shape.size), tail=tail)
        return selected

    def _send(self, node: int, kind: str, parcel: Parcel) -> None:
        """Send what there is; with a client's rows go the node's declarations for the next round."""
        following: tuple[int, list[str]] = (0, [])
        if kind == TRAIN and self.following is not None:
            names = by_node(self.following.cohort, self.members).get(node, [])
            following = self.following.round, self._to_be_asked(self.following, names)
        clients, content = list(parcel.messages), records.pack(parcel)
        if clients:
            more = self._feedback(clients) if kind == TRAIN else {}
            sent_as = self.post.send(node, kind, self.round, content, self._keep, clients, following, more)
            self._owe(clients, node, kind, sent_as)
        elif following[1]:
            sent_as = self.post.send(node, DECLARE, self.round, content, self._keep, declare=following)
        if self.following is not None and following[1]:
            self.following.asked |= dict.fromkeys(following[1], sent_as)

    def _feedback(self, clients: list[str]) -> More:
        return {} if self.used is None else feedback_request([self.used.get(name, 0) for name in clients])

    def _take_update(self, name: str, parcel: Parcel, waited: float) -> None:
        """Step 6 begins: an update is checked before anything else sees it."""
        report, sent = self.reports[name], self._sent[name]
        with _checking() as checked:
            message = parcel.messages.get(name, {}).get(Update.kind)
            if message is None:
                raise HashfedError(parcel.problems.get(name, "no update in its answer"))
            update, precision = cast(Update, message), self.config.compression.updates
            check_update(update, self.round, self._shape, self._limits, sent, precision)
        if checked.problem:
            self._fail(name, checked.problem)
            return
        self._count(report, update)
        numbers = parcel.reports.get(name, {})
        try:
            take_report(report, numbers, update, self._shape, self._limits, waited)
            accepted, clipped = accept_update(self.config.server, update, sent.tail)
        except HashfedError as error:  # what it says of its work, or the values
            self._fail(name, str(error))
            return
        self.clipped += clipped
        self._updates.put(name, accepted)
        if sent.tail is not None:
            self._tails[name] = sent.tail
        del self._owed[name], self._sent[name]

    def _count(self, report: ClientReport, message: Message) -> None:
        report.bytes[message.kind] = wire.size(message)

    def _owe(self, names: Iterable[str], node: int, exchange: str, message: str) -> None:
        for name in names:
            self._owed[name] = Owed(node, exchange, message)

    def _fail(self, name: str, reason: str) -> None:
        self.failed[name] = shorten(reason)
        self.reports.pop(name, None)
        self._sent.pop(name, None)
        owed = self._owed.pop(name, None)
        if owed is not None:
            self.erring.add(owed.node)

    def _fail_all(self, names: list[str], reason: str) -> None:
        for name in names:
            self._fail(name, reason)

    def _lose(self, node: int, reason: str) -> None:
        """A node that is gone owes nothing more."""
        self._fail_all([name for name, owed in self._owed.items() if owed.node == node], reason)
        self.erring.discard(node)
        self.post.forget(node)
        self.members.lose(node)

    def _give_up(self) -> None:
        """The deadline has passed: whoever owes an answer has failed, and has to join again."""
        for node in {owed.node for owed in self._owed.values()}:
            exchanges = {owed.exchange for owed in self._owed.values() if owed.node == node}
            names = ", ".join(sorted(exchange.rpartition(".")[2] for exchange in exchanges))
            self._lose(node, f"no answer to {names} within {self.config.flower.deadline:g} s")


def slices_place(config: Config) -> str:
    """Where clients find the slices of a round: a URL, or a folder on the same machine."""
    return config.flower.slices_url or str(slices_folder(config))


def slices_folder(config: Config) -> Path:
    """Where the server writes them."""
    return Path(config.flower.slices or config.folder() / "slices").absolute()


def slices_request(where: str, manifest: Wanted) -> More:
    """What a client needs to know to fetch a round's slices."""
    return {"slices": where, "manifest": manifest.address, "manifest_bytes": manifest.size}


def feedback_request(rounds: list[int]) -> More:
    """What clients need to know to feed back what compression lost: the rounds of their last used updates."""
    return {USED: rounds}


def client_limits(config: Config) -> Limits:
    """What a client of this configuration can need at most in a round."""
    task, examples = make_task(config.data), config.client.examples
    return Limits(own=task.most_own(examples), predictions=task.most_predictions(examples))


@dataclass
class _Checked:
    """What is wrong with a message; empty where nothing is."""

    problem: str = ""


@contextmanager
def _checking() -> Iterator[_Checked]:
    """A block that only reads and checks what a client sent: whatever is raised there, its message is wrong.

    Nobody can list what libraries raise for something that somebody made up. What the server does with a
    checked message is no part of the block: an error there is a bug, and no client's.
    """
    found = _Checked()
    try:
        yield found
    except Exception as error:
        found.problem = one_line(error)


def _rows_sent(declared: Declare, selected: SelectedRows, size: int) -> RowsSent:
    """What a client was sent, and how much of it must and may come back (``federated.client.drop_rows``)."""
    if selected.ids is None:
        return RowsSent(None, size, size, False)
    tail = 0 if selected.log_weight is None else int((selected.log_weight > 0).sum())
    ids = np.sort(np.concatenate([declared.own, selected.ids]))
    kept = kept_rows(len(ids), len(declared.own) + tail, selected.budget)
    return RowsSent(ids, kept, kept, True)
