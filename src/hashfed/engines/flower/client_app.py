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
from hashfed.engines.flower.node import (
    NodeState,
    NotJoinedError,
    ReadClients,
    UntoldError,
    join,
    read_clients,
)
from hashfed.engines.network import exchanges
from hashfed.engines.network.parcel import Parcel
from hashfed.engines.network.reports import step_report, train_report
from hashfed.engines.slice_store import CachedSource, SliceSource, open_source
from hashfed.errors import HashfedError, one_line, warnings_told
from hashfed.federated.checks import check_broadcast
from hashfed.federated.error_feedback import ClientMemory
from hashfed.federated.messages import Broadcast
from hashfed.federated.messages import Message as HashfedMessage
from hashfed.federated.protocols import Received, Step, all_steps, in_lockstep, needed_later, riding
from hashfed.federated.slices import Wanted
from hashfed.retrieval import Index
from hashfed.tasks.registry import make_task

Handler = Callable[[Message, Context], RecordDict]
FAILED = "failed; the log of its node says why"
"""All that a server which learns sums alone is told of what went wrong at a client."""


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
        except UntoldError as error:
            _untold(error.why, "join")
            raise
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
    if not in_lockstep(round):
        return _answer_step(node, round, name, message.content, answer)
    try:
        content = _answer_step(node, round, name, message.content, answer)
    except Exception as error:
        content = _refusal(_untold(error, name))
    # How long a client computes tells how much it has. The server sees when an answer comes, which tells the
    # same of a node, up to its speed, its network and the most examples that a client takes; it is not told.
    content["time"] = time_record(0.0)
    return content


def _answer_step(
    node: NodeState, round: Sequence[Step], name: str, content: RecordDict, answer: Parcel
) -> RecordDict:
    step = next((step for step in round if step.name == name), None)
    if step is None:
        raise HashfedError(f"{name}: no step of this run's rounds")
    node.secrets.drop_before(answer.round)
    if not step.ahead:
        _play(node, round, step, content, answer)
    for other in (step, riding(round, step)):
        if other is not None and other.ahead:
            _answer_ahead(node, round, other, content, answer)
    return records.pack(answer)


def _play(node: NodeState, round: Sequence[Step], step: Step, content: RecordDict, answer: Parcel) -> None:
    """The answers of the clients that are asked; what they need for later steps is kept."""
    if needed_later(round, step):
        node.keep(content, answer.round)
    parcel, request = records.unpack(content), cast(ConfigRecord, content["request"])
    kept = node.kept() if step.needs else {}
    names, last = _asked(parcel, step) or cast(list[str], request.get(step.name, [])), step is round[-1]
    used = _used(request, names)
    beside, sums = _Beside(), in_lockstep(round)
    for name in names:
        with _reported(answer, name, sums):
            client = _client(node, name, answer.round)
            got = _received(step, kept.get(name, {}), parcel.shared | parcel.messages.get(name, {}), client)
            beside.lend(client, step, node, request, got)
            for down in step.needs:
                down.check(client, got[down.kind.kind])
            for down in step.down:
                if not (beside.checked and "cohort" in (step.scope, down.scope)):
                    down.check(client, got[down.kind.kind])
            beside.checked = True
            if last and node.config.compression.error_feedback:
                client.residual = node.memories.get(name).of(used.get(name, 0))
            answered = _made(node, round, step, client, got)
            beside.index = client.index
            if client.lost is not None:
                node.memories.set(name, ClientMemory(client.residual, client.lost))
            if not sums:
                answer.reports[name] = (
                    train_report(client.report) if last else step_report(step, client.report)
                )
            answer.add(name, answered)
    if last:
        node.drop(parcel.messages)


def _asked(parcel: Parcel, step: Step) -> list[str]:
    """The clients for whom messages of this step came."""
    kinds = {down.kind.kind for down in step.down}
    return [name for name, messages in parcel.messages.items() if kinds & set(messages)]


def _made(
    node: NodeState, round: Sequence[Step], step: Step, client: ClientRound, got: Received
) -> HashfedMessage:
    """A client's answer; what it keeps to itself of a sum is there before that goes, gone after the last."""
    if not in_lockstep(round):
        return step.up.make(client, got)
    name = client.client.name
    client.secrets = node.secrets.get(name, client.round)
    answered = step.up.make(client, got)
    if step is round[-1]:
        node.secrets.drop(name, client.round)
    else:
        node.secrets.set(name, client.round, client.secrets)
    return answered


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
        checked: whether what came for all of them was checked.

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
    if in_lockstep(steps(node.config)):
        raise HashfedError("evaluate: not in a run whose server learns sums alone")
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


def _answer_ahead(
    node: NodeState, round: Sequence[Step], step: Step, content: RecordDict, answer: Parcel
) -> None:
    """Answers to a step that needs nothing of its round, which is another one or has just begun."""
    request = cast(ConfigRecord, content["request"])
    names = cast(list[str], request.get(step.name, []))
    messages = records.unpack(content).messages if names and step.down else {}
    for name in names:
        with _reported(answer, name, in_lockstep(round)):
            client = _client(node, name, int(cast(int, request[exchanges.asked_ahead(step.name)])))
            got = _received(step, {}, messages.get(name, {}), client)
            for down in step.down:
                down.check(client, got[down.kind.kind])
            answer.add(name, _made(node, round, step, client, got))


def time_record(seconds: float) -> MetricRecord:
    """What every answer says: seconds within the ClientApp."""
    return MetricRecord({"seconds": seconds})


class _reported:
    """A client's failure in this block becomes a problem in the answer; the node's other clients go on.

    ``untold``: what went wrong is for the node's own log alone.
    """

    def __init__(self, answer: Parcel, client: str, untold: bool = False) -> None:
        self._answer, self._client, self._untold = answer, client, untold

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> bool:
        if not isinstance(error, Exception):
            return False
        tell = _untold if self._untold else _told
        self._answer.problems[self._client] = tell(error, f"client {self._client}")
        return True


def _told(error: Exception, where: str) -> str:
    """The error for the server, on one line; a bug is in the node's log with its traceback."""
    if isinstance(error, UntoldError):
        return FAILED
    if not isinstance(error, HashfedError):
        log(ERROR, "hashfed: %s", where, exc_info=error)
    return one_line(error)


def _untold(error: Exception, where: str) -> str:
    """The same for a server that learns sums alone: the text is in the node's log."""
    if isinstance(error, HashfedError):
        log(ERROR, "hashfed: %s: %s", where, error)
    else:
        _told(error, where)
    return FAILED


def _refusal(text: str, not_joined: bool = False) -> RecordDict:
    """An answer of a node that has none."""
    return RecordDict({"error": ConfigRecord({"text": text, "not_joined": not_joined})})


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
            text = _told(error, message.metadata.message_type)
            content = _refusal(text, isinstance(error, NotJoinedError))
        finally:
            torch.set_num_threads(threads)
        if "time" not in content:
            content["time"] = time_record(time.perf_counter() - start)
        return Message(content, reply_to=message)

    return answer


app = make_client_app()
