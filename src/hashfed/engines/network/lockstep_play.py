"""One round over the network whose steps all clients make together, and which leaves a sum.

All answers to a step are in, or given up, before the messages of the next one are made; who is asked next,
and whether the round goes on, is for the cohort's session to say. The steps that need nothing of their round
are played in the one before: their questions ride along with those of its last steps (``protocols.riding``),
so that a round waits for its other steps alone.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from hashfed.engines.network.exchanges import type_of
from hashfed.engines.network.members import Members, by_node
from hashfed.engines.network.parcel import Parcel
from hashfed.engines.network.play import Owed, Play, TooFewAnsweredError, answer_in, checking
from hashfed.engines.network.post import Reply, shorten
from hashfed.engines.network.replies import open_reply
from hashfed.engines.network.transport import NOTHING, Ahead, More
from hashfed.engines.round_end import RoundEnd
from hashfed.engines.server_round import ServerRound
from hashfed.errors import HashfedError
from hashfed.federated import wire
from hashfed.federated.checks import Limits
from hashfed.federated.messages import Message
from hashfed.federated.protocols import Down, Exchange, Step, riding

GONE = "its node is gone"
LEFT_OUT = "left out of the sum: too few others could help to unmask it"


@dataclass
class Cohort:
    """The clients of a round on their way through its steps.

    Attributes:
        server: makes and takes their messages; of a round to come, only those that need nothing of it.
        place: steps that are over.
        failed: why a client is asked no more, by name.
        problem: why there will be no sum; empty where nothing is wrong.
        sizes: bytes of a client's messages by kind, the same for all.
        asked: whether the present step's questions are sent, and its answers in, or given up.
        owed: answers to the present step, by client.

    """

    server: ServerRound
    place: int = 0
    failed: dict[str, str] = field(default_factory=dict)
    problem: str = ""
    sizes: dict[str, int] = field(default_factory=dict)
    asked: bool = False
    owed: dict[str, Owed] = field(default_factory=dict)
    _nodes: dict[str, int] = field(default_factory=dict)
    """By client, the node that remembers its steps."""

    @property
    def step(self) -> Step:
        """The present one."""
        return self.server.steps[self.place]

    @property
    def summed(self) -> list[str]:
        """Names, ascending, of those that are in the sum, or still can be."""
        session = self.server.session
        return session.summed or [name for name in session.asked if name not in self.failed]

    @property
    def missing(self) -> dict[str, str]:
        """The others, and why."""
        names = sorted(set(self.server.cohort) - set(self.summed))
        return {name: self.failed.get(name, LEFT_OUT) for name in names}

    def due(self, members: Members) -> dict[int, list[str]]:
        """Who is asked the present step, by node; clients whose node is another one now have failed."""
        for name in self.server.session.asked:
            node = members.node(name)
            if node is None or self._nodes.setdefault(name, node) != node:
                self.failed.setdefault(name, GONE)
        return by_node((name for name in self.server.session.asked if name not in self.failed), members)

    def at(self, node: int) -> list[str]:
        """Clients whose steps this node remembers, that have not failed."""
        return [name for name, its in self._nodes.items() if its == node and name not in self.failed]

    def made(self, down: Down, client: str = "") -> Message:
        """A message of the present step, of all clients or one."""
        message = down.make(self.server, Exchange(client))
        self.count(message)
        return message

    def count(self, message: Message) -> None:
        """Note its bytes."""
        if message.kind not in self.sizes:
            self.sizes[message.kind] = wire.size(message)

    @property
    def may_close(self) -> bool:
        """Whether what closing needs is there before the round: the next step's messages are made of it."""
        return self.server.steps[self.place + 1].ahead

    def close(self) -> None:
        """Nobody's answer to the present step is waited for any more."""
        try:
            if self.step.close is not None:
                self.step.close(self.server)
        except HashfedError as error:
            self.problem = str(error)
        self.place, self.asked = self.place + 1, False


@dataclass
class LockstepPlay(Play):
    """The server in one round.

    Attributes:
        end: writes down that a sum will be known.
        cohort: of this round.
        following: of the next one; None where there is none.
        least: clients that must be in the sum.

    """

    end: RoundEnd
    cohort: Cohort
    following: Cohort | None
    least: int

    @property
    def round(self) -> int:
        """Its number."""
        return self.cohort.server.round

    def play(self) -> None:
        """All steps; then the cohort's session has the sum, and ``following`` is where the next round begins.

        Each step has the deadline for itself. A next cohort of which no sum can come is forgotten.

        Raises:
            TooFewAnsweredError: where too few clients are left for a sum; nothing of it is known.

        """
        steps = self.cohort.server.steps
        while self.cohort.place < len(steps):
            both = self._in_step()
            if not self.cohort.asked:
                self._ask(both)
                self._start_waiting()
                while any(cohort.owed for cohort in both):
                    self._wait()
                for cohort in both:
                    cohort.asked = True
            if self.cohort.step is steps[-1]:
                self.end.release(self.cohort.server)
            self.cohort.close()
            self._check()
            for other in both[1:]:
                if other.may_close:
                    other.close()
                if other.problem:
                    self.following = None

    def _in_step(self) -> list[Cohort]:
        """The cohort, and that of the next round where its present step rides along."""
        cohort, other = self.cohort, self.following
        if other is None or other.asked or other.step is not riding(other.server.steps, cohort.step):
            return [cohort]
        return [cohort, other]

    def _check(self) -> None:
        """Refuse a round that can leave no sum, or one of too few, before anything is changed."""
        cohort, left = self.cohort, len(self.cohort.summed)
        if not cohort.problem and left >= self.least:
            return
        problem = cohort.problem or (
            f"{left} of {len(cohort.server.cohort)} clients answered, flower.minimum_share = "
            f"{self.config.flower.minimum_share:g} asks for {self.least}"
        )
        why = "".join(f"; client {name}: {reason}" for name, reason in sorted(cohort.failed.items()))
        start = f"round {self.round}: "
        raise TooFewAnsweredError(f"{start}{problem.removeprefix(start)}{why}", self.erring)

    def _ask(self, both: Sequence[Cohort]) -> None:
        """Send the messages of each cohort's present step, those to one node in one."""
        due = [cohort.due(self.members) for cohort in both]
        shared = [_shared(cohort) if found else {} for cohort, found in zip(both, due, strict=True)]
        for node in sorted(set().union(*due)):
            parcel, clients, ahead = Parcel(self.round), list[str](), NOTHING
            more: More = {}
            kinds: list[str] = []
            for cohort, found, common in zip(both, due, shared, strict=True):
                names, step = found.get(node, []), cohort.step
                if not names:
                    continue
                kinds.append(type_of(step.name))
                parcel.shared |= common
                for down in step.down:
                    for name in names if down.scope == "client" else ():
                        parcel.add(name, cohort.made(down, name))
                if step.ahead:
                    ahead = Ahead(step.name, cohort.server.round, names)
                    continue
                clients = names
                if all(down.scope == "cohort" for down in step.down):
                    more = {step.name: names}
            content = self.post.transport.pack(parcel)
            sent_as = self.post.send(node, kinds[0], self.round, content, self._keep, clients, ahead, more)
            for cohort, found in zip(both, due, strict=True):
                owed = Owed(node, cohort.step, sent_as)
                cohort.owed |= dict.fromkeys(found.get(node, []), owed)

    def _cohorts(self) -> list[Cohort]:
        return [self.cohort, *([] if self.following is None else [self.following])]

    def _answer(self, reply: Reply) -> None:
        self._note_seconds(reply)
        owing = [
            (cohort, name)
            for cohort in self._cohorts()
            for name, owed in cohort.owed.items()
            if owed.message == reply.message
        ]
        try:
            parcel = open_reply(reply, self.cohort.server.steps)
        except HashfedError as error:
            for cohort, name in owing:
                self._fail(cohort, name, str(error))
            if reply.gone:
                self._lose(reply.node, str(error))
            return
        for cohort, name in owing:
            self._take(cohort, name, parcel)

    def _take(self, cohort: Cohort, name: str, parcel: Parcel) -> None:
        """A client's answer to the present step: checked and taken, or the client is left out."""
        step, server, exchange = cohort.step, cohort.server, Exchange(name)
        with checking() as checked:
            message = answer_in(parcel, name, step)
            step.up.check(server, exchange, message, Limits(0, 0))
        if checked.problem:
            self._fail(cohort, name, checked.problem)
            return
        try:
            if step.up.take is not None:
                step.up.take(server, exchange, message)
        except HashfedError as error:
            self._fail(cohort, name, str(error))
            return
        cohort.count(message)
        del cohort.owed[name]

    def _fail(self, cohort: Cohort, name: str, reason: str) -> None:
        cohort.failed[name] = shorten(reason.removeprefix(f"client {name}: "))
        owed = cohort.owed.pop(name, None)
        if owed is not None:
            self.erring.add(owed.node)

    def _owing(self) -> Mapping[int, set[str]]:
        found: dict[int, set[str]] = {}
        for cohort in self._cohorts():
            for owed in cohort.owed.values():
                found.setdefault(owed.node, set()).add(owed.step.name)
        return found

    def _fail_node(self, node: int, reason: str) -> None:
        """A node that has to join again remembers nothing of its clients' steps."""
        for cohort in self._cohorts():
            for name in cohort.at(node):
                self._fail(cohort, name, reason if name in cohort.owed else GONE)


def _shared(cohort: Cohort) -> dict[str, Message]:
    """By kind, the messages of the present step that are the same for all: made once."""
    made = [cohort.made(down) for down in cohort.step.down if down.scope == "cohort"]
    return {message.kind: message for message in made}
