"""One round over the network: each node goes on to its next step as soon as it has answered the last.

The steps are those of ``federated.protocols``. A first step that needs nothing of its round is asked for
while the round before trains: its questions ride along with those for updates.

No node waits for another one, and none but the sum of updates waits for all.
"""

from collections.abc import Iterator, Mapping
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, cast

from hashfed.config import Config
from hashfed.engines.budget import build_model, device_budget
from hashfed.engines.client_round import ClientReport
from hashfed.engines.network import exchanges
from hashfed.engines.network.members import Members, by_node
from hashfed.engines.network.parcel import Parcel
from hashfed.engines.network.play import Owed, Play, answer_in, checking
from hashfed.engines.network.post import Reply, seconds_of, shorten
from hashfed.engines.network.replies import open_reply, take_report
from hashfed.engines.network.reports import seconds_field
from hashfed.engines.network.transport import NOTHING, Ahead, More
from hashfed.engines.network.waiting import WaitingUpdates
from hashfed.engines.round_end import RoundEnd
from hashfed.engines.server_round import ServerRound
from hashfed.errors import HashfedError
from hashfed.federated import wire
from hashfed.federated.checks import Limits
from hashfed.federated.messages import Message, Update
from hashfed.federated.protocols import SLICES, Down, Exchange, Step
from hashfed.federated.slices import Wanted
from hashfed.models.protocol import OUTPUT, names_of
from hashfed.retrieval.planes import Tail
from hashfed.tasks.registry import make_task


@dataclass
class Begun:
    """A cohort's answers to a step that is asked ahead, which may come while the round before is played.

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
    there: dict[str, Message] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)
    answered: dict[str, int] = field(default_factory=dict)

    def drop_of_other_nodes(self, members: Members) -> None:
        """Forget what a node said of a client that it does not host now: the one that does is asked."""
        for name, node in list(self.answered.items()):
            if members.node(name) != node:
                del self.answered[name]
                self.there.pop(name, None)
                self.failed.pop(name, None)


@dataclass
class RoundPlay(Play):
    """The server in one round.

    Attributes:
        server: the server's answers.
        end: accepts updates.
        begun: by this round's cohort, and who that is.
        following: by the next round's; None where there is none, or nothing is asked ahead.
        reports: of clients whose update has come, by name.
        failed: why an update will not come, by name.
        manifest: where the round's slices are and which one lists them; None where rows are sent.
        used: by client, the round of its last update that was used; None without error feedback.

    """

    server: ServerRound
    end: RoundEnd
    begun: Begun
    following: Begun | None
    reports: dict[str, ClientReport] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)
    manifest: tuple[str, Wanted] | None = None
    used: Mapping[str, int] | None = None
    _exchanges: dict[str, Exchange] = field(default_factory=dict, init=False)
    """With clients whose update has not come."""
    _common: Any | None = field(default=None, init=False)
    """What is sent to all, and its bytes by kind."""
    _common_bytes: dict[str, int] = field(default_factory=dict, init=False)
    _tails: dict[str, Tail] = field(default_factory=dict, init=False)
    """Of clients whose update waits for its turn."""
    _owed: dict[str, Owed] = field(default_factory=dict, init=False)

    def __post_init__(self) -> None:
        self._steps, self._limits = self.server.steps, client_limits(self.config)
        device_budget(self.config, self.server.shape.size)  # a mistake in it is nobody's but the user's
        self._updates = WaitingUpdates(self.config.folder())

    @property
    def round(self) -> int:
        """Its number."""
        return self.server.round

    def updates(self) -> Iterator[tuple[ClientReport, Update, Tail | None]]:
        """Those of the clients that answer in time, in order of names, each as soon as it is its turn.

        With each comes its client's report, and the tail that it was sent planes of, if it was.

        The deadline is for the nodes: the server's own work, and what the caller does between two updates,
        do not count, and what has come by then is read. At the end ``failed`` says who is missing.
        """
        self._start()
        self._start_waiting()
        try:
            for name in self.begun.cohort:
                while name not in self._updates and name not in self.failed:
                    self._wait()
                if name in self._updates:
                    with self._own_work():
                        yield self.reports[name], self._updates.take(name), self._tails.pop(name, None)
        finally:
            self._updates.close()

    def _start(self) -> None:
        cohort = self.begun.cohort
        self.begun.drop_of_other_nodes(self.members)
        for name in cohort:
            if self.members.node(name) is None:
                self._fail(name, "its node is gone")
            elif name in self.begun.failed:
                self._fail(name, self.begun.failed[name])
                self.erring.add(self.begun.answered[name])
        waiting = [name for name in cohort if name not in self.failed]
        for name in waiting:
            self._exchanges[name] = Exchange(name)
        if not self._steps[0].ahead:
            for node, names in by_node(waiting, self.members).items():
                self._ask(node, names, self._steps[0])
            return
        ready = [name for name in waiting if name in self.begun.there]
        for node, names in by_node(waiting, self.members).items():
            due = self._to_be_asked(self.begun, names)
            if due:
                self._ask_ahead(node, self.begun, due)
        for name in waiting:
            if name not in ready:
                node = cast(int, self.members.node(name))
                self._owed[name] = Owed(node, self._steps[0], self.begun.asked[name])
        for node, names in by_node(ready, self.members).items():
            self._go_on(node, names, self._steps[0])
        if self.following is not None:
            # Nodes without a client in this round need not wait for its end.
            busy = set(by_node(waiting, self.members))
            for node, names in by_node(self.following.cohort, self.members).items():
                due = self._to_be_asked(self.following, names)
                if node not in busy and due:
                    self._ask_ahead(node, self.following, due)

    def _to_be_asked(self, begun: Begun, names: list[str]) -> list[str]:
        """Those whose answer is neither there nor on its way from the node that hosts them now."""
        return [
            name
            for name in names
            if name not in begun.there
            and name not in begun.failed
            and self.post.waits_at(begun.asked.get(name, "")) != self.members.node(name)
        ]

    def _ask_ahead(self, node: int, begun: Begun, names: list[str]) -> None:
        step = self._steps[0].name
        content, ahead = self.post.transport.pack(Parcel(self.round)), Ahead(step, begun.round, names)
        sent_as = self.post.send(node, exchanges.type_of(step), self.round, content, self._keep, ahead=ahead)
        begun.asked |= dict.fromkeys(names, sent_as)

    def _answer(self, reply: Reply) -> None:
        self._note_seconds(reply)
        owing = [name for name, owed in self._owed.items() if owed.message == reply.message]
        try:
            parcel = open_reply(reply, self._steps)
        except HashfedError as error:
            # Whom it was asked about ahead is asked again: nothing is on its way.
            self._fail_all(owing, str(error))
            if reply.gone:
                self._lose(reply.node, str(error))
            return
        self._take_ahead(reply, parcel)
        steps = {name: self._owed[name].step for name in owing if name in self._owed}
        for step in self._steps:
            names = [name for name in steps if steps[name] is step]
            if step is self._steps[-1]:
                for name in names:
                    self._take_update(name, parcel, reply.waited)
            elif names:
                if not step.ahead:
                    names = [name for name in names if self._take(name, step, parcel, reply.waited)]
                self._go_on(reply.node, names, step)

    def _take_ahead(self, reply: Reply, parcel: Parcel) -> None:
        """Answers of this cohort or the next, whichever the request asked for."""
        step, round = self._steps[0], reply.ahead.round
        begun = self.begun if self.begun.round == round else self.following
        if begun is None or begun.round != round or not step.ahead:
            return
        server = self.server if begun is self.begun else replace(self.server, round=round)
        for name in reply.ahead.clients:
            if begun.asked.get(name) != reply.message:
                continue  # another node was asked since
            begun.answered[name] = reply.node
            with checking() as checked:
                message = answer_in(parcel, name, step)
                step.up.check(server, Exchange(name), message, self._limits)
            if not checked.problem:
                begun.there[name] = message
                continue
            begun.failed[name] = shorten(checked.problem)
            if begun is self.begun:
                self._fail(name, begun.failed[name])

    def _take(self, name: str, step: Step, parcel: Parcel, waited: float) -> bool:
        """A client's answer to a step before the last; whether it is of use."""
        exchange, report = self._exchanges[name], self.reports[name]
        with checking() as checked:
            message = answer_in(parcel, name, step)
            step.up.check(self.server, exchange, message, self._limits)
        if checked.problem:
            self._fail(name, checked.problem)
            return False
        exchange.answers[message.kind] = message
        self._count(report, message)
        said = parcel.reports.get(name, {}).get(seconds_field(step.name))
        report.seconds[step.name] = seconds_of(said, waited)
        return True

    def _go_on(self, node: int, names: list[str], answered: Step) -> None:
        """The step after one that these clients have answered."""
        if answered.ahead:
            for name in names:
                message = self.begun.there[name]
                self._exchanges[name].answers[message.kind] = message
        self._ask(node, names, self._steps[self._steps.index(answered) + 1], answered)

    def _ask(self, node: int, names: list[str], step: Step, answered: Step | None = None) -> None:
        """Send a step's messages, with the last one what is asked of the node for the next round."""
        parcel, content = Parcel(self.round), None
        if step.scope == "cohort":
            content = self._for_all(step, names)
        for name in names:
            if name not in self.reports:
                self._begin_report(name)
            if step.scope == "client":
                try:
                    messages = [self._made(down, name) for down in step.down]
                except HashfedError as error:
                    # Only the maker can tell that an answer does not fit; one asked ahead was checked.
                    if answered is None or answered.ahead:
                        raise
                    self._fail(name, str(error))
                    continue
                for message in messages:
                    parcel.add(name, message)
        asked = [name for name in names if name not in self.failed]
        self._send(node, step, asked, self.post.transport.pack(parcel) if content is None else content)

    def _begin_report(self, name: str) -> None:
        exchange = self._exchanges[name]
        report = self.reports[name] = ClientReport(name, own=exchange.own)
        for message in exchange.answers.values():
            self._count(report, message)

    def _made(self, down: Down, name: str) -> Message:
        report = self.reports[name]
        with nullcontext() if down.timed is None else report.timed(down.timed):
            message = down.make(self.server, self._exchanges[name])
        self._count(report, message)
        return message

    def _for_all(self, step: Step, names: list[str]) -> Any:
        """The messages that are the same for all clients: made, counted and packed once."""
        if self._common is None:
            made = [down.make(self.server, Exchange("")) for down in step.down if not down.fetched]
            self._common = self.post.transport.pack(
                Parcel(self.round, shared={item.kind: item for item in made})
            )
            self._common_bytes = {item.kind: wire.size(item) for item in made}
            for down in step.down:
                if down.fetched and self.manifest is not None:
                    self._common_bytes |= {down.kind.kind: self.manifest[1].size, SLICES: 0}
        for name in names:
            self._begin_report(name)
            self.reports[name].bytes |= self._common_bytes
        return self._common

    def _send(self, node: int, step: Step, clients: list[str], content: Any) -> None:
        """Send what there is; with the last step go the questions to the node for the next round."""
        last, kind, ahead = step is self._steps[-1], exchanges.type_of(step.name), NOTHING
        if last and self.following is not None:
            names = by_node(self.following.cohort, self.members).get(node, [])
            due = self._to_be_asked(self.following, names)
            ahead = Ahead(self._steps[0].name, self.following.round, due)
        if clients:
            more = self._request(step, clients)
            sent_as = self.post.send(node, kind, self.round, content, self._keep, clients, ahead, more)
            for name in clients:
                self._owed[name] = Owed(node, step, sent_as)
            if self.following is not None:
                self.following.asked |= dict.fromkeys(ahead.clients, sent_as)
        elif self.following is not None and ahead.clients:
            self._ask_ahead(node, self.following, ahead.clients)

    def _request(self, step: Step, clients: list[str]) -> More:
        """What the nodes need to know besides the messages."""
        more: More = {}
        if step.scope == "cohort" or not step.down:
            more = {step.name: clients}
        if any(down.fetched for down in step.down) and self.manifest is not None:
            more = {**slices_request(*self.manifest), **more}
        if step is self._steps[-1] and self.used is not None:
            more = {**more, **feedback_request([self.used.get(name, 0) for name in clients])}
        return more

    def _take_update(self, name: str, parcel: Parcel, waited: float) -> None:
        """Step 6 begins: an update is checked before anything else sees it."""
        report, exchange, step = self.reports[name], self._exchanges[name], self._steps[-1]
        with checking() as checked:
            update = answer_in(parcel, name, step)
            step.up.check(self.server, exchange, update, self._limits)
            assert isinstance(update, Update)
        if checked.problem:
            self._fail(name, checked.problem)
            return
        self._count(report, update)
        numbers = parcel.reports.get(name, {})
        try:
            take_report(report, numbers, update, self.server.shape, self._limits, waited)
            accepted = self.end.accept(update, exchange.tail)
        except HashfedError as error:  # what it says of its work, or the values
            self._fail(name, str(error))
            return
        self._updates.put(name, accepted)
        if exchange.tail is not None:
            self._tails[name] = exchange.tail
        del self._owed[name], self._exchanges[name]

    def _count(self, report: ClientReport, message: Message) -> None:
        report.bytes[message.kind] = wire.size(message)

    def _fail(self, name: str, reason: str) -> None:
        self.failed[name] = shorten(reason)
        self.reports.pop(name, None)
        self._exchanges.pop(name, None)
        owed = self._owed.pop(name, None)
        if owed is not None:
            self.erring.add(owed.node)

    def _fail_all(self, names: list[str], reason: str) -> None:
        for name in names:
            self._fail(name, reason)

    def _owing(self) -> Mapping[int, set[str]]:
        found: dict[int, set[str]] = {}
        for owed in self._owed.values():
            found.setdefault(owed.node, set()).add(owed.step.name)
        return found

    def _fail_node(self, node: int, reason: str) -> None:
        self._fail_all([name for name, owed in self._owed.items() if owed.node == node], reason)


def slices_place(config: Config) -> str:
    """Where clients find the slices of a round: a URL, or a folder on the same machine."""
    return config.flower.slices_url or str(slices_folder(config))


def slices_folder(config: Config) -> Path:
    """Where the server writes them."""
    return Path(config.flower.slices or config.folder() / "slices").absolute()


def slices_request(where: str, manifest: Wanted) -> More:
    """What a client needs to know to fetch a round's slices."""
    return {
        exchanges.PLACE: where,
        exchanges.MANIFEST: manifest.address,
        exchanges.MANIFEST_BYTES: manifest.size,
    }


def feedback_request(rounds: list[int]) -> More:
    """What clients need to know to feed back what compression lost: the rounds of their last used updates."""
    return {exchanges.USED: rounds}


def client_limits(config: Config) -> Limits:
    """What a client of this configuration can need at most in a round."""
    task, model, examples = make_task(config.data), build_model(config), config.client.examples
    most = {name: task.most_own(examples, *names_of(model, name)) for name in model.tables}
    return Limits(most.pop(OUTPUT), task.most_predictions(examples), most)
