"""The clients' side on Flower: a ClientApp that joins, answers the steps of rounds, and evaluates.

``app`` reads its node's data as the task says (``Task.read``); a client with data elsewhere makes its
own app, whose clients are those that the task encodes:

    app = make_client_app(read=my_texts)      # (node config, run configuration) -> list[ClientTexts]
"""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial, wraps
from logging import ERROR, WARNING
from typing import cast

import torch
from flwr.app import ConfigRecord, Context, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp
from flwr.clientapp.typing import Mod
from flwr.common.logger import log

from hashfed.engines.budget import build_model, steps
from hashfed.engines.client_round import ClientRound
from hashfed.engines.evaluation import evaluate_examples, held_out_examples
from hashfed.engines.flower import records
from hashfed.engines.flower.node import NodeState, NotJoinedError, ReadClients, join, read_clients
from hashfed.engines.network import exchanges
from hashfed.engines.network.parcel import Parcel
from hashfed.engines.network.reports import step_report, train_report
from hashfed.engines.slice_store import CachedSource, SliceSource, open_source
from hashfed.errors import HashfedError, one_line, warnings_told
from hashfed.federated.checks import check_broadcast
from hashfed.federated.error_feedback import ClientMemory
from hashfed.federated.messages import Broadcast
from hashfed.federated.messages import Message as HashfedMessage
from hashfed.federated.protocols import Received, Step, all_steps, needed_later
from hashfed.federated.slices import Wanted
from hashfed.retrieval import Index
from hashfed.tasks.registry import make_task

Handler = Callable[[Message, Context], RecordDict]


def make_client_app(read: ReadClients = read_clients, mods: Sequence[Mod] = ()) -> ClientApp:
    """A ClientApp for nodes whose clients ``read`` gives.

    Args:
        read: from the node's settings and the run's configuration, the clients that the node hosts.
        mods: Flower's modifiers, around every action.

    """
    app = ClientApp(mods=list(mods))

    @app.query("join")
    @_answered
    def _join(message: Message, context: Context) -> RecordDict:
        try:
            with warnings_told(lambda line: log(WARNING, "hashfed: %s", line)):
                names = join(context.state, message.content, context.node_config, read)
        except HashfedError as error:
            log(ERROR, "hashfed: %s", error)  # to whoever can mend it; the server is told too
            raise
        return RecordDict({"names": ConfigRecord({kind: list(found) for kind, found in names.items()})})

    for name in dict.fromkeys(step.name for step in all_steps()):
        kind, _, action = exchanges.type_of(name).partition(".")
        registered = app.query(action) if kind == "query" else app.train()
        registered(_answered(partial(answer_step, name)))
    app.evaluate()(_answered(evaluate))
    return app


def answer_step(name: str, message: Message, context: Context) -> RecordDict:
    """A step of the round for the clients that are asked, and what is asked for ahead of another round."""
    node, answer = _open(message, context)
    round = steps(node.config)
    step = next((step for step in round if step.name == name), None)
    if step is None:
        raise HashfedError(f"{name}: no step of this run's rounds")
    if not step.ahead:
        _play(node, round, step, message.content, answer)
    for other in round:
        if other.ahead:
            _answer_ahead(node, other, message.content, answer)
    return records.pack(answer)


def _play(node: NodeState, round: Sequence[Step], step: Step, content: RecordDict, answer: Parcel) -> None:
    """The answers of the clients that are asked; what they need for later steps is kept."""
    if needed_later(round, step):
        node.keep(content, answer.round)
    parcel, request = records.unpack(content), cast(ConfigRecord, content["request"])
    kept = node.kept() if step.needs else {}
    names, last = list(parcel.messages) or cast(list[str], request.get(step.name, [])), step is round[-1]
    used = _used(request, names)
    beside = _Beside()
    for name in names:
        with _reported(answer, name):
            client = _client(node, name, answer.round)
            got = _received(step, kept.get(name, {}), parcel.shared | parcel.messages.get(name, {}), client)
            beside.lend(client, step, node, request, got)
            for down in step.needs if beside.checked else (*step.needs, *step.down):
                down.check(client, got[down.kind.kind])
            beside.checked = step.scope == "cohort"
            if last and node.config.compression.error_feedback:
                client.residual = node.memories.get(name).of(used.get(name, 0))
            answered = step.up.make(client, got)
            beside.index = client.index
            if client.lost is not None:
                node.memories.set(name, ClientMemory(client.residual, client.lost))
            answer.reports[name] = train_report(client.report) if last else step_report(step, client.report)
            answer.add(name, answered)
    if last:
        node.drop(parcel.messages)


def _received(
    step: Step, kept: Mapping[str, HashfedMessage], came: Mapping[str, HashfedMessage], client: ClientRound
) -> Received:
    """What the client has of this step's messages and of those that it needs of earlier ones."""
    got = Received()
    for down in (*step.needs, *step.down):
        kind, here = down.kind.kind, kept if down in step.needs else came
        if down.fetched:
            continue
        if kind not in here or (down in step.needs and here[kind].round != client.round):
            raise HashfedError(
                f"no {kind} of round {client.round} is kept here: was this node started anew?"
                if down in step.needs
                else f"no message {kind} came with {step.name}"
            )
        got[kind] = here[kind]
    return got


@dataclass
class _Beside:
    """What the clients of a node share within a message, each of whom would make or fetch the same.

    Attributes:
        index: of a broadcast's rows.
        source: of slices, with those that were fetched.
        checked: whether what came for all of them was.

    """

    index: Index | None = None
    source: SliceSource | None = None
    checked: bool = False

    def lend(
        self, client: ClientRound, step: Step, node: NodeState, request: ConfigRecord, got: Received
    ) -> None:
        """Give it to a client, which fetches what is to be fetched."""
        client.index = self.index
        for down in step.down:
            if not down.fetched:
                continue
            # Each client counts what it needs. Nobody waits for what comes after the deadline.
            where = node.slices or str(request[exchanges.PLACE])
            self.source = self.source or CachedSource(open_source(where, node.config.flower.deadline))
            client.source = CachedSource(self.source)
            address, size = request[exchanges.MANIFEST], cast(int, request[exchanges.MANIFEST_BYTES])
            got[down.kind.kind] = client.fetch_manifest(Wanted(str(address), int(size)))


def _used(request: ConfigRecord, clients: Sequence[str]) -> dict[str, int]:
    """By client, the round of its last update that the server used (``round_play.feedback_request``)."""
    rounds = cast(list[int], request.get(exchanges.USED, [0] * len(clients)))
    return dict(zip(clients, rounds, strict=True))


def evaluate(message: Message, context: Context) -> RecordDict:
    """Sums over the held-out clients of this node, under the full softmax."""
    node, answer = _open(message, context)
    model, metrics = build_model(node.config), make_task(node.config.data).metrics
    whole = cast(Broadcast, records.unpack(message.content).shared[Broadcast.kind])
    check_broadcast(whole, answer.round, node.shape)
    parameters = whole.parameters
    for name in node.held_out:
        with _reported(answer, name):
            examples = held_out_examples([node.client(name)], None, node.config.seed)
            answer.reports[name] = dict(evaluate_examples(model, parameters, metrics, examples))
    return records.pack(answer)


def _open(message: Message, context: Context) -> tuple[NodeState, Parcel]:
    """The node's memory, and an empty answer to the round that the message is of."""
    request = cast(ConfigRecord, message.content["request"])
    return NodeState(context, str(request["setup"])), Parcel(int(cast(int, request["round"])))


def _client(node: NodeState, name: str, round: int) -> ClientRound:
    return ClientRound(node.config, build_model(node.config), node.client(name), round, node.sizes)


def _answer_ahead(node: NodeState, step: Step, content: RecordDict, answer: Parcel) -> None:
    """Answers to a step of another round, which need nothing of it."""
    request = cast(ConfigRecord, content["request"])
    for name in cast(list[str], request.get(step.name, [])):
        with _reported(answer, name):
            client = _client(node, name, int(cast(int, request[exchanges.asked_ahead(step.name)])))
            answer.add(name, step.up.make(client, Received()))


def time_record(seconds: float) -> MetricRecord:
    """What every answer says: seconds within the ClientApp."""
    return MetricRecord({"seconds": seconds})


class _reported:
    """A client's failure in this block becomes a problem in the answer; the node's other clients go on."""

    def __init__(self, answer: Parcel, client: str) -> None:
        self._answer, self._client = answer, client

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> bool:
        if not isinstance(error, Exception):
            return False
        self._answer.problems[self._client] = _told(error, f"client {self._client}")
        return True


def _told(error: Exception, where: str) -> str:
    """The error for the server, on one line; a bug is in the node's log with its traceback."""
    if not isinstance(error, HashfedError):
        log(ERROR, "hashfed: %s", where, exc_info=error)
    return one_line(error)


def _answered(handler: Handler) -> Callable[[Message, Context], Message]:
    """Whatever happens, an answer: a SuperNode that gets none waits for ever (flwr 1.41).

    One thread, so that sums have the simulator's order.
    """

    @wraps(handler)
    def answer(message: Message, context: Context) -> Message:
        start, threads = time.perf_counter(), torch.get_num_threads()
        torch.set_num_threads(1)
        try:
            content = handler(message, context)
        except Exception as error:
            content = RecordDict(
                {
                    "error": ConfigRecord(
                        {
                            "text": _told(error, message.metadata.message_type),
                            "not_joined": isinstance(error, NotJoinedError),
                        }
                    )
                }
            )
        finally:
            torch.set_num_threads(threads)
        content["time"] = time_record(time.perf_counter() - start)
        return Message(content, reply_to=message)

    return answer


app = make_client_app()
