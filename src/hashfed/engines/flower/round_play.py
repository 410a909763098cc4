"""One round over the network: each node goes on to its next exchange as soon as it has answered the last.

    declare     rows that the clients' data needs; already asked for while the last round trained
    hash        welcome down, keys up; spared where the method asks for no keys
    train       rows down, update up; the next cohort's declarations ride along

Where clients select by themselves (``selection.delivery``) there is only ``train``: all rows, or the address
of the round's slices, down, update up.

No node waits for another one, and none but the sum of updates waits for all.
"""

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

import numpy as np
from flwr.app import RecordDict

from hashfed.config import Config
from hashfed.engines.budget import device_budget, sends_everything
from hashfed.engines.client_round import ClientReport, asks_for_keys
from hashfed.engines.flower import records
from hashfed.engines.flower.client_app import DECLARE, HASH, JOIN, TRAIN
from hashfed.engines.flower.members import Members, by_node
from hashfed.engines.flower.post import More, Post, Reply, shorten
from hashfed.engines.flower.records import Parcel
from hashfed.engines.server_round import ServerRound, accept_update
from hashfed.errors import HashfedError
from hashfed.federated import wire
from hashfed.federated.checks import Limits, ModelShape, RowsSent, check_declare, check_keys, check_update
from hashfed.federated.compression import expand
from hashfed.federated.messages import ClientKeys, Declare, Manifest, Message, SelectedRows, Update
from hashfed.federated.slices import Wanted

POLL_SECONDS = 0.1
"""Between two looks for replies."""


@dataclass
class Declarations:
    """Those of one cohort, which may come while the round before is still played.

    Attributes:
        round: that they are for.
        cohort: names, ascending.
        asked: those that were asked.
        there: those that have come.
        failed: why one will not come.

    """

    round: int
    cohort: list[str]
    asked: set[str] = field(default_factory=set)
    there: dict[str, Declare] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)


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
        seconds: of the server's own work, and of the slowest node's.
        clipped: updates that were longer than ``server.clip``.
        manifest: where the round's slices are and which one lists them; None where rows are sent.

    """

    config: Config
    post: Post
    members: Members
    server: ServerRound
    declarations: Declarations
    following: Declarations | None
    reports: dict[str, ClientReport] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)
    clipped: int = 0
    manifest: tuple[str, Wanted] | None = None
    _sent: dict[str, RowsSent] = field(default_factory=dict, init=False)
    _updates: dict[str, Update] = field(default_factory=dict, init=False)
    _stage: dict[str, tuple[int, str]] = field(default_factory=dict, init=False)
    """Node and exchange whose answer a client owes."""

    def __post_init__(self) -> None:
        parameters = self.server.parameters
        body = {name: tuple(value.shape) for name, value in parameters.body.items()}
        size, dimension = parameters.rows.shape
        self._shape, self._limits = ModelShape(size, dimension, body), client_limits(self.config)
        index = self.server.index
        self._asks = index is not None and asks_for_keys(self.config, index.encoder.kind)

    @property
    def round(self) -> int:
        """Its number."""
        return self.server.round

    def updates(self) -> Iterator[Update]:
        """Those of the clients that answer in time, in order of names, each as soon as it is its turn.

        At the end ``failed`` says who is missing.
        """
        end = time.monotonic() + self.config.flower.deadline
        self._start()
        for name in self.declarations.cohort:
            while name not in self._updates and name not in self.failed:
                if time.monotonic() >= end:
                    self._give_up()
                    break
                if not self._step():
                    time.sleep(POLL_SECONDS)
            update = self._updates.pop(name, None)
            if update is not None:
                yield update

    def _start(self) -> None:
        cohort = self.declarations.cohort
        for name in cohort:
            if self.members.node(name) is None:
                self._fail(name, "its node is gone")
            elif name in self.declarations.failed:
                self._fail(name, self.declarations.failed[name])
        if self.config.selection.delivery != "on-demand":
            self._send_to_all([name for name in cohort if name not in self.failed])
            return
        if sends_everything(self.config):
            size = self._shape.size
            for name in cohort:
                self.declarations.there[name] = Declare(self.round, np.empty(0, np.int32), size)
        waiting = [name for name in cohort if name not in self.failed]
        ready = [name for name in waiting if name in self.declarations.there]
        ask = [name for name in waiting if name not in self.declarations.asked and name not in ready]
        for node, names in by_node(ask, self.members).items():
            self._ask_to_declare(node, self.declarations, names)
        for name in waiting:
            if name not in ready:
                self._owes([name], cast(int, self.members.node(name)), DECLARE)
        for node, names in by_node(ready, self.members).items():
            self._welcome(node, names)
        if self.following is not None:
            # Nodes without a client in this round need not wait for its end.
            busy = set(by_node(waiting, self.members))
            for node, names in by_node(self.following.cohort, self.members).items():
                if node not in busy:
                    self._ask_to_declare(node, self.following, names)

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
            self._owes(hosted, node, TRAIN)
            content = RecordDict(dict(packed.items()))
            self.post.send(node, TRAIN, self.round, content, self._keep, more={**more, TRAIN: hosted})

    def _rows_of_a_selector(self) -> RowsSent:
        """What is known of the rows of a client that selects by itself."""
        budget = device_budget(self.config, self._shape.size)
        most = max(budget, self._limits.own + round(self.config.selection.tail * budget))
        everything = sends_everything(self.config)
        return RowsSent(None, 0, min(most, self._shape.size), not everything)

    def _ask_to_declare(self, node: int, declarations: Declarations, names: list[str]) -> None:
        declarations.asked.update(names)
        content = records.pack(Parcel(self.round))
        self.post.send(node, DECLARE, self.round, content, self._keep, (declarations.round, names))

    @property
    def _keep(self) -> float:
        return self.config.flower.deadline + 60

    def _step(self) -> bool:
        """Look for replies once; whether there were any."""
        self.members.look(self.post)
        replies = self.post.collect()
        for reply in replies:
            if reply.kind == JOIN:
                self.members.answer(reply)
            else:
                self._answer(reply)
        return bool(replies)

    def _answer(self, reply: Reply) -> None:
        slowest = self.seconds.get(f"{reply.kind}_client", 0.0)
        self.seconds[f"{reply.kind}_client"] = max(slowest, reply.worked)
        waited = self.seconds.get(f"{reply.kind}_wait", 0.0)
        self.seconds[f"{reply.kind}_wait"] = max(waited, reply.waited)
        owing = [name for name, stage in self._stage.items() if stage == (reply.node, reply.kind)]
        try:
            if reply.content is None:
                raise HashfedError(reply.problem)
            parcel = records.unpack(reply.content)
        except HashfedError as error:
            self._fail_all(owing, str(error))
            if self.following is not None and self.following.round == reply.asked[0]:
                # They are asked again when that round begins.
                self.following.asked.difference_update(reply.asked[1])
            if reply.gone:
                self._lose(reply.node, str(error))
            return
        self._take_declarations(reply, parcel)
        if reply.kind == DECLARE:
            ready = [name for name in owing if name in self.declarations.there and name not in self.failed]
            if ready:
                self._welcome(reply.node, ready)
        elif reply.kind == HASH:
            self._send_rows(reply.node, owing, parcel)
        elif reply.kind == TRAIN:
            for name in owing:
                self._take_update(name, parcel)

    def _take_declarations(self, reply: Reply, parcel: Parcel) -> None:
        """Of this cohort or the next, whichever the request asked for."""
        round, names = reply.asked
        declarations = self.declarations if self.declarations.round == round else self.following
        if declarations is None or declarations.round != round:
            return
        for name in names:
            message = parcel.messages.get(name, {}).get("declare")
            try:
                if message is None:
                    raise HashfedError(parcel.problems.get(name, "no declaration in its answer"))
                declared = cast(Declare, message)
                check_declare(declared, round, self._shape, self._limits)
                declarations.there[name] = declared
            except HashfedError as error:
                declarations.failed[name] = str(error)
                if declarations is self.declarations:
                    self._fail(name, str(error))

    def _welcome(self, node: int, names: list[str]) -> None:
        """Step 2; with step 4 in the same message where no keys are asked for."""
        parcel = Parcel(self.round)
        for name in names:
            declared = self.declarations.there[name]
            report = self.reports[name] = ClientReport(name)
            report.own = declared.own.astype(np.int64)
            if not sends_everything(self.config):
                self._count(report, declared)
            try:
                welcome = self.server.welcome(declared)
            except HashfedError as error:
                self._fail(name, str(error))
                continue
            self._count(report, welcome)
            parcel.add(name, welcome)
            if not self._asks:
                self._add_rows(parcel, name, None)
        if self._asks:
            self._send(node, HASH, parcel)
        else:
            self._send(node, TRAIN, parcel)

    def _send_rows(self, node: int, names: Sequence[str], answered: Parcel) -> None:
        """Step 4: from the keys of each client to its rows."""
        parcel = Parcel(self.round)
        for name in names:
            message = answered.messages.get(name, {}).get("keys")
            if message is None:
                self._fail(name, answered.problems.get(name, "no keys in its answer"))
                continue
            keys = cast(ClientKeys, message)
            try:
                check_keys(keys, self.round, self._limits)
                self._count(self.reports[name], keys)
                self._add_rows(parcel, name, keys)
            except HashfedError as error:
                self._fail(name, str(error))
                continue
            seconds = answered.reports.get(name, {}).get("hash_seconds", 0.0)
            self.reports[name].seconds["hash"] = seconds
        self._send(node, TRAIN, parcel)

    def _add_rows(self, parcel: Parcel, name: str, keys: ClientKeys | None) -> None:
        declared, report = self.declarations.there[name], self.reports[name]
        with report.timed("retrieve"):
            selected = self.server.select(name, declared, keys)
        self._count(report, selected)
        parcel.add(name, selected)
        self._sent[name] = _rows_sent(declared, selected, self._shape.size)

    def _send(self, node: int, kind: str, parcel: Parcel) -> None:
        """Send what there is; with a client's rows go the node's declarations for the next round."""
        following: tuple[int, list[str]] = (0, [])
        if kind == TRAIN and self.following is not None:
            names = by_node(self.following.cohort, self.members).get(node, [])
            names = [name for name in names if name not in self.following.asked]
            self.following.asked.update(names)
            following = self.following.round, names
        self._owes(list(parcel.messages), node, kind)
        if parcel.messages:
            self.post.send(node, kind, self.round, records.pack(parcel), self._keep, following)
        elif following[1]:
            content = records.pack(Parcel(self.round))
            self.post.send(node, DECLARE, self.round, content, self._keep, following)

    def _take_update(self, name: str, parcel: Parcel) -> None:
        """Step 6 begins: an update is checked before anything else sees it."""
        message = parcel.messages.get(name, {}).get("update")
        try:
            if message is None:
                raise HashfedError(parcel.problems.get(name, "no update in its answer"))
            update = cast(Update, message)
            report = self.reports[name]
            self._count(report, update)
            update = expand(update)
            check_update(update, self.round, self._shape, self._limits, self._sent[name])
            update, clipped = accept_update(self.config.server, name, update)
            self.clipped += clipped
            _take_report(report, parcel.reports.get(name, {}))
        except HashfedError as error:
            self._fail(name, str(error))
            return
        self._updates[name] = update
        self._stage.pop(name, None)

    def _count(self, report: ClientReport, message: Message) -> None:
        report.bytes[message.kind] = wire.size(message)

    def _owes(self, names: list[str], node: int, kind: str) -> None:
        for name in names:
            self._stage[name] = node, kind

    def _fail(self, name: str, reason: str) -> None:
        self.failed[name] = shorten(reason)
        self.reports.pop(name, None)
        self._stage.pop(name, None)

    def _fail_all(self, names: list[str], reason: str) -> None:
        for name in names:
            self._fail(name, reason)

    def _lose(self, node: int, reason: str) -> None:
        """A node that is gone owes nothing more."""
        self._fail_all([name for name, stage in self._stage.items() if stage[0] == node], reason)
        self.post.forget(node)
        self.members.lose(node)

    def _give_up(self) -> None:
        """The deadline has passed: whoever owes an answer has failed, and has to join again."""
        for node in {stage[0] for stage in self._stage.values()}:
            kinds = {kind for host, kind in self._stage.values() if host == node}
            exchange = ", ".join(sorted(kind.rpartition(".")[2] for kind in kinds))
            self._lose(node, f"no answer to {exchange} within {self.config.flower.deadline:g} s")


def slices_place(config: Config) -> str:
    """Where clients find the slices of a round: a URL, or a folder on the same machine."""
    return config.flower.slices_url or str(slices_folder(config))


def slices_folder(config: Config) -> Path:
    """Where the server writes them."""
    return Path(config.flower.slices or config.folder() / "slices").absolute()


def slices_request(where: str, manifest: Wanted) -> More:
    """What a client needs to know to fetch a round's slices."""
    return {"slices": where, "manifest": manifest.address, "manifest_bytes": manifest.size}


def client_limits(config: Config) -> Limits:
    """What a client of this configuration can need at most in a round."""
    positions = config.client.sentences * (config.data.sentence_length + 1)
    return Limits(own=2 * positions, predictions=positions)


def _rows_sent(declared: Declare, selected: SelectedRows, size: int) -> RowsSent:
    """What a client was sent, and how much of it must and may come back (``federated.client.drop_rows``)."""
    if selected.ids is None:
        return RowsSent(None, size, size, False)
    tail = 0 if selected.log_weight is None else int((selected.log_weight > 0).sum())
    ids = np.sort(np.concatenate([declared.own, selected.ids]))
    most = max(selected.budget, len(declared.own) + tail)
    return RowsSent(ids, min(len(ids), selected.budget), min(len(ids), most), True)


def _take_report(report: ClientReport, numbers: dict[str, float]) -> None:
    """What the client says about its own work: shown, never computed with.

    Raises:
        HashfedError: where a number is missing or absurd.

    """
    for name in ("own", "rows", "parameters", "predictions", "flops", "slices"):
        value = numbers.get(name, 0 if name == "slices" else -1)
        if not 0 <= value < 2**62:
            raise HashfedError(f"report: {name} = {value}: must be from 0 to 2^62")
    report.own_rows = int(numbers["own"])
    report.rows = int(numbers["rows"])
    report.parameters = int(numbers["parameters"])
    report.predictions = int(numbers["predictions"])
    report.flops = int(numbers["flops"])
    report.seconds["train"] = numbers.get("train_seconds", 0.0)
    if Manifest.kind in report.bytes:
        slices, update = numbers.get("slices", 0.0), report.bytes.pop(Update.kind)
        report.bytes |= {"slices": int(slices), Update.kind: update}
