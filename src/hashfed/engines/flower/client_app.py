"""The clients' side on Flower: a ClientApp that joins, declares, hashes, trains and evaluates.

``app`` reads its node's texts as ``node.node_texts`` says; a client with data of its own makes its own app:

    app = make_client_app(read=my_texts)      # (node config, run configuration) -> list[ClientTexts]
"""

import time
from collections.abc import Callable, Mapping, Sequence
from functools import wraps
from logging import ERROR, WARNING
from typing import cast

import torch
from flwr.app import ArrayRecord, ConfigRecord, Context, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp
from flwr.clientapp.typing import Mod
from flwr.common.logger import log

from hashfed.engines.budget import sends_planes
from hashfed.engines.client_round import ClientReport, ClientRound, broadcast_index
from hashfed.engines.evaluation import chunks, evaluate_chunk, held_out_examples
from hashfed.engines.exchange import build_model
from hashfed.engines.flower import records
from hashfed.engines.flower.node import NodeState, NotJoinedError, ReadTexts, join, node_texts
from hashfed.engines.flower.records import Parcel
from hashfed.engines.slice_store import CachedSource, SliceSource, open_source
from hashfed.errors import HashfedError, one_line, warnings_told
from hashfed.federated.checks import check_broadcast, check_parameters, check_selected, check_welcome
from hashfed.federated.compression import expand
from hashfed.federated.error_feedback import ClientMemory
from hashfed.federated.messages import Broadcast, SelectedRows, Welcome
from hashfed.federated.slices import Wanted
from hashfed.models import Parameters
from hashfed.retrieval import Index
from hashfed.tasks.metrics import add_sums
from hashfed.tasks.registry import make_task

JOIN, DECLARE, HASH, TRAIN, EVALUATE = "query.join", "query.declare", "query.hash", "train", "evaluate"
"""Types of the messages that the server sends."""
USED = "used"
"""In a request to train with error feedback: for each of its clients, the round of its last update that the
server used; 0 where there is none."""

Handler = Callable[[Message, Context], RecordDict]


def make_client_app(read: ReadTexts = node_texts, mods: Sequence[Mod] = ()) -> ClientApp:
    """A ClientApp for nodes whose texts ``read`` gives.

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

    app.query("declare")(_answered(declare))
    app.query("hash")(_answered(hash))
    app.train()(_answered(train))
    app.evaluate()(_answered(evaluate))
    return app


def declare(message: Message, context: Context) -> RecordDict:
    """Step 2: the own rows of the clients that are asked."""
    node, answer = _open(message, context)
    _declare_next(node, message.content, answer)
    return records.pack(answer)


def hash(message: Message, context: Context) -> RecordDict:
    """Step 3: keys of the clients that are welcomed, and the welcomes kept."""
    node, answer = _open(message, context)
    node.keep_welcomes(message.content, answer.round)
    for name, messages in records.unpack(message.content).messages.items():
        with _reported(answer, name):
            client, welcome = _client(node, name, answer.round), cast(Welcome, messages["welcome"])
            _check_welcome(welcome, client, node)
            keys = client.hash(welcome)
            if keys is None:
                raise HashfedError(f"encoder {welcome.encoder}: asks for no keys")
            answer.reports[name] = hash_report(client.report)
            answer.add(name, keys)
    return records.pack(answer)


def train(message: Message, context: Context) -> RecordDict:
    """Step 5: the clients that get rows train; the clients of the next round declare."""
    node, answer = _open(message, context)
    parcel, kept = records.unpack(message.content), node.welcomes()
    request = cast(ConfigRecord, message.content["request"])
    used = _used(request, parcel)
    for name, messages in parcel.messages.items():
        with _reported(answer, name):
            welcome = cast(Welcome | None, (kept.get(name, {}) | messages).get("welcome"))
            if welcome is None or welcome.round != answer.round:
                raise HashfedError(
                    f"no welcome of round {answer.round} is kept here: was this node started anew?"
                )
            client, selected = _client(node, name, answer.round), cast(SelectedRows, messages["rows"])
            _check_welcome(welcome, client, node)
            planes = node.config.selection.planes if sends_planes(node.config) else 0
            check_selected(expand(selected), answer.round, node.shape, client.agreed_budget, planes)
            _train(node, client, welcome, selected, answer, used.get(name, 0))
    node.drop_welcomes(parcel.messages)
    _select_and_train(node, parcel, request, answer, used)
    _declare_next(node, message.content, answer)
    return records.pack(answer)


def _select_and_train(
    node: NodeState, parcel: Parcel, request: ConfigRecord, answer: Parcel, used: Mapping[str, int]
) -> None:
    """Steps 2 to 5 of clients that select by themselves, of a broadcast or of published slices."""
    broadcast = cast(Broadcast | None, parcel.shared.get(Broadcast.kind))
    if broadcast is not None:
        check_broadcast(broadcast, answer.round, node.shape)
    index: Index | None = None
    source: SliceSource | None = None
    for name in cast(list[str], request.get(TRAIN, [])):
        with _reported(answer, name):
            client = _client(node, name, answer.round)
            if broadcast is not None:
                index = index or broadcast_index(node.config, broadcast)
                welcome, selected = client.select_broadcast(broadcast, index)
            else:
                # The node's clients share what it has fetched; each counts what it needs.
                # Nobody waits for what comes after the deadline.
                where = node.slices or str(request["slices"])
                source = source or CachedSource(open_source(where, node.config.flower.deadline))
                mine = CachedSource(source)
                wanted = Wanted(str(request["manifest"]), int(cast(int, request["manifest_bytes"])))
                manifest = client.fetch_manifest(wanted, mine)
                welcome, selected = client.select_published(manifest, mine)
                _check_welcome(welcome, client, node)
                check_selected(selected, answer.round, node.shape, client.agreed_budget)
            _train(node, client, welcome, selected, answer, used.get(name, 0))


def _used(request: ConfigRecord, parcel: Parcel) -> dict[str, int]:
    """By client, the round of its last update that the server used (``round_play.feedback_request``)."""
    clients = list(parcel.messages) or cast(list[str], request.get(TRAIN, []))
    rounds = cast(list[int], request.get(USED, [0] * len(clients)))
    return dict(zip(clients, rounds, strict=True))


def _train(
    node: NodeState,
    client: ClientRound,
    welcome: Welcome,
    selected: SelectedRows,
    answer: Parcel,
    used: int,
) -> None:
    name, feeds_back = client.client.name, node.config.compression.error_feedback
    before = node.memories.get(name).of(used) if feeds_back else None
    update, lost = client.train(welcome, selected, before)
    if lost is not None:
        node.memories.set(name, ClientMemory(before, lost))
    answer.reports[name] = train_report(client.report)
    answer.add(name, update)


def evaluate(message: Message, context: Context) -> RecordDict:
    """Sums over the held-out clients of this node, under the full softmax."""
    node, answer = _open(message, context)
    model, metrics = build_model(node.config), make_task(node.config.data).metrics
    named = records.tensors(cast(ArrayRecord, message.content["parameters"]))
    check_parameters(named, node.shape)
    start = "body."
    body = {name.removeprefix(start): value for name, value in named.items() if name.startswith(start)}
    parameters = Parameters(named["rows"], body)
    for name in node.held_out:
        with _reported(answer, name):
            examples = held_out_examples([node.client(name)], None, node.config.seed)
            count = chunks(examples)
            parts = (evaluate_chunk(model, parameters, metrics, examples, c) for c in range(count))
            answer.reports[name] = dict(add_sums(parts))
    return records.pack(answer)


def _open(message: Message, context: Context) -> tuple[NodeState, Parcel]:
    """The node's memory, and an empty answer to the round that the message is of."""
    request = cast(ConfigRecord, message.content["request"])
    return NodeState(context, str(request["setup"])), Parcel(int(cast(int, request["round"])))


def _client(node: NodeState, name: str, round: int) -> ClientRound:
    return ClientRound(node.config, build_model(node.config), node.client(name), round, node.size)


def _declare_next(node: NodeState, content: RecordDict, answer: Parcel) -> None:
    """Declarations for a later round that ride along; a round of their own (``declare_round``)."""
    request = cast(ConfigRecord, content["request"])
    for name in cast(list[str], request.get("declare", [])):
        with _reported(answer, name):
            answer.add(name, _client(node, name, int(cast(int, request["declare_round"]))).declared)


def _check_welcome(welcome: Welcome, client: ClientRound, node: NodeState) -> None:
    own, encoder = len(client.declared.own), client.manifest_shape.encoder
    check_welcome(expand(welcome), client.round, node.shape, own, encoder)


def hash_report(report: ClientReport) -> dict[str, float]:
    """What a client says about its hashing; floats, whose size does not depend on their value."""
    return {"hash_seconds": report.seconds.get("hash", 0.0)}


def train_report(report: ClientReport) -> dict[str, float]:
    """What a client says about its training."""
    slices = {"slices": float(report.bytes["slices"])} if "slices" in report.bytes else {}
    bounded = {} if report.bounded is None else {"bounded": float(report.bounded)}
    return (
        {
            "own": float(report.own_rows),
            "rows": float(report.rows),
            "parameters": float(report.parameters),
            "predictions": float(report.predictions),
            "flops": float(report.flops),
            "train_seconds": report.seconds.get("train", 0.0),
        }
        | slices
        | bounded
    )


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
