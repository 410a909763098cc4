"""A network within one process that is not Flower's: what it takes to carry hashfed's rounds."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from hashfed.config import Config
from hashfed.engines.budget import build_model, steps
from hashfed.engines.client_round import ClientRound
from hashfed.engines.evaluation import evaluate_examples, held_out_examples
from hashfed.engines.network.exchanges import EVALUATE, JOIN, type_of
from hashfed.engines.network.parcel import Parcel
from hashfed.engines.network.reports import step_report, train_report
from hashfed.engines.network.transport import Answer, Request
from hashfed.errors import HashfedError
from hashfed.federated.messages import Broadcast
from hashfed.federated.protocols import Received, needed_later
from hashfed.tasks.federated_data import Client, FederatedData
from hashfed.tasks.next_word.vocabulary import Vocabulary
from hashfed.tasks.registry import make_task


@dataclass(frozen=True)
class MemoryContent:
    """What a node sent: a parcel, or the names of its clients."""

    packed: Parcel | None = None
    names: Mapping[str, object] = field(default_factory=dict)

    def parcel(self) -> Parcel:
        """It."""
        if self.packed is None:
            raise HashfedError("no parcel")
        return self.packed

    def hosted(self) -> Mapping[str, object]:
        """Them."""
        return self.names


class MemoryNode:
    """Clients on one node."""

    def __init__(
        self, config: Config, sizes: Mapping[str, int], train: Sequence[Client], held_out: Sequence[Client]
    ) -> None:
        """Set it up; ``sizes``: numbers of rows by table."""
        self.config, self.sizes, self.model = config, sizes, build_model(config)
        self.train, self.held_out = ({client.name: client for client in found} for found in (train, held_out))
        self._kept: dict[str, Received] = {}

    def answer(self, request: Request, parcel: Parcel) -> MemoryContent:
        """Of any exchange."""
        if request.kind == JOIN:
            return MemoryContent(names={"train": list(self.train), "held_out": list(self.held_out)})
        answer, round = Parcel(request.round), steps(self.config)
        for step in round:
            if request.kind == type_of(step.name):
                for name, messages in parcel.messages.items():
                    client, got = self._client(name, request.round), self._kept.pop(name, {}) | messages
                    answer.add(name, step.up.make(client, got))
                    self._kept[name] = {kind: got[kind] for kind in needed_later(round, step) & set(got)}
                    last = step is round[-1]
                    said = train_report(client.report) if last else step_report(step, client.report)
                    answer.reports[name] = said
            for name in request.ahead.clients if step.ahead else ():
                answer.add(name, step.up.make(self._client(name, request.ahead.round), Received()))
        if request.kind == EVALUATE:
            self._evaluate(parcel, answer)
        return MemoryContent(answer)

    def _client(self, name: str, round: int) -> ClientRound:
        return ClientRound(self.config, self.model, self.train[name], round, self.sizes)

    def _evaluate(self, parcel: Parcel, answer: Parcel) -> None:
        whole = parcel.shared[Broadcast.kind]
        assert isinstance(whole, Broadcast)
        parameters, metrics = whole.parameters, make_task(self.config.data).metrics
        for name, client in self.held_out.items():
            examples = held_out_examples([client], None, self.config.seed)
            answer.reports[name] = dict(evaluate_examples(self.model, parameters, metrics, examples))


class MemoryTransport:
    """Nodes that answer at once; those taken out of ``there`` are offline.

    Attributes:
        there: nodes by their ids, from 1.
        asked: node and exchange of every message, in order.

    """

    def __init__(self, config: Config, data: FederatedData[Vocabulary], nodes: int) -> None:
        """Nodes that share the clients."""
        self.down = self.up = 0
        self.there = {
            number + 1: MemoryNode(
                config, data.sizes, data.train[number::nodes], data.held_out[number::nodes]
            )
            for number in range(nodes)
        }
        self.asked: list[tuple[int, str]] = []
        self._answers: dict[str, Answer] = {}

    def nodes(self) -> set[int]:
        """All that are there."""
        return set(self.there)

    def invitation(self) -> Parcel:
        """Nothing: nodes know the run."""
        return Parcel(0)

    def pack(self, parcel: Parcel) -> Parcel:
        """As it is."""
        return parcel

    def send(self, node: int, request: Request, content: Parcel) -> str | None:
        """Let the node answer."""
        self.asked.append((node, request.kind))
        name = str(len(self.asked))
        if node in self.there:
            self._answers[name] = Answer(self.there[node].answer(request, content))
        else:
            self._answers[name] = Answer(None, "its node is gone", gone=True)
        return name

    def look(self, message: str) -> Answer | None:
        """The answer, once."""
        return self._answers.pop(message, None)

    def forget(self, message: str) -> None:
        """Drop an answer."""
        self._answers.pop(message, None)
