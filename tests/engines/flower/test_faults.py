"""Clients and nodes that do what they should not: the round goes on, and the model is as without them."""

import json
import math
import struct
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import cast

import numpy as np
import pytest
import torch
from flwr.app import Array, ArrayRecord, ConfigRecord, Message, RecordDict, UserConfig

from hashfed.config import Config, make_config
from hashfed.engines.flower import records
from hashfed.engines.flower.client_app import app
from hashfed.engines.flower.rounds import FlowerRounds
from hashfed.engines.network.rounds import TooFewAnsweredError
from hashfed.engines.rounds import RoundRecord
from hashfed.errors import HashfedError
from hashfed.federated.messages import ClientKeys, Declare, Update
from hashfed.federated.messages import Message as HashfedMessage
from hashfed.models import Parameters
from hashfed.tasks.federated_data import FederatedData
from hashfed.tasks.next_word.vocabulary import Vocabulary
from loopback import Interfere, LoopbackGrid, partitions
from small import prepare, small_config, small_data

BAD = 2
"""The node that misbehaves."""


def play(
    config: Config,
    data: FederatedData[Vocabulary],
    interfere: Interfere = lambda node, reply: reply,
    interrupt: Callable[[int, Message], None] = lambda node, message: None,
    rounds: int = 1,
) -> tuple[list[RoundRecord], Parameters, list[str]]:
    said: list[str] = []
    with FlowerRounds(
        LoopbackGrid(app, partitions(config.data.source), interfere, interrupt), config, data, said.append
    ) as engine:
        found = [engine.run_round() for _ in range(rounds)]
        return found, engine.state.parameters.clone(), said


def edit(kind: str, change: Callable[[HashfedMessage], HashfedMessage]) -> Interfere:
    """The bad node's messages of one kind, changed."""

    def interfere(node: int, reply: Message) -> Message:
        if node == BAD and reply.has_content() and "head" in reply.content:
            parcel = records.unpack(reply.content)
            for messages in parcel.messages.values():
                if kind in messages:
                    messages[kind] = change(messages[kind])
            for name, record in records.pack(parcel).items():
                reply.content[name] = record
        return reply

    return interfere


def changed(kind: str, **fields: object) -> Interfere:
    return edit(kind, lambda message: replace(message, **fields))  # type: ignore[type-var]


def of_update(change: Callable[[Update], Update]) -> Interfere:
    return edit("update", lambda message: change(cast(Update, message)))


def with_row(update: Update, value: float) -> Update:
    rows = update.rows.clone()
    rows[0, 0] = value
    return replace(update, rows=rows)


def with_ids(update: Update, change: Callable[[np.ndarray], np.ndarray]) -> Update:
    assert update.ids is not None
    return replace(update, ids=change(update.ids.copy()))


def shifted(ids: np.ndarray) -> np.ndarray:
    ids[-1] = 1000
    return ids


def negative(ids: np.ndarray) -> np.ndarray:
    ids[0] = -1
    return ids


def repeated(ids: np.ndarray) -> np.ndarray:
    ids[1] = ids[0]
    return ids


def not_sent(ids: np.ndarray) -> np.ndarray:
    free = np.setdiff1d(np.arange(44), ids)
    return np.sort(np.append(ids[:-1], free[-1])).astype(np.int32)


def with_tail(update: Update, change: Callable[[torch.Tensor], torch.Tensor]) -> Update:
    assert update.tail is not None, "planes were sent"
    return replace(update, tail=change(update.tail.clone()))


def far_queries(message: HashfedMessage) -> HashfedMessage:
    """Centroids whose planes nobody could compute with."""
    keys = cast(ClientKeys, message).keys
    return ClientKeys(message.round, keys | {"scales": np.full_like(keys["scales"], 1e17)})


def extra_array(reply_node: int, reply: Message) -> Message:
    """100 MB that nobody asked for, in the update's own record."""
    if reply_node == BAD and "0.arrays" in reply.content and "0.report" in reply.content:
        junk = records.arrays({"junk": torch.zeros(25_000_000)})
        reply.content.array_records["0.arrays"]["junk"] = junk["rest"]
    return reply


def extra_record(reply_node: int, reply: Message) -> Message:
    if reply_node == BAD and "0.report" in reply.content:
        reply.content["junk"] = records.arrays({"junk": torch.zeros(25_000_000)})
    return reply


def wide_rows(update: Update) -> Update:
    """A table of 10 MB where some rows were sent."""
    return replace(update, rows=torch.zeros(len(update.rows), 2_500_000 // len(update.rows)))


def garbage(reply_node: int, reply: Message) -> Message:
    if reply_node == BAD and "0.report" in reply.content:
        reply.content = RecordDict({"head": ConfigRecord({"round": "x"})})
    return reply


def absurd_shape(reply_node: int, reply: Message) -> Message:
    if reply_node == BAD and "0.report" in reply.content:
        head = json.dumps({"rows": {"dtype": "F32", "shape": [0, 2**62, 4], "data_offsets": [0, 0]}}).encode()
        data = struct.pack("<Q", len(head)) + head
        reply.content["0.arrays"] = ArrayRecord({"rest": Array("uint8", (len(data),), "safetensors", data)})
    return reply


def more_keys(reply_node: int, reply: Message) -> Message:
    """As many as a client's data cannot have: 33 centroids."""
    many: dict[str, np.ndarray] = {
        "codes": np.zeros((33, 4), np.uint8),
        "scales": np.ones(33, np.float32),
        "counts": np.ones(33, np.int32),
    }
    return cast(Message, changed("keys", keys=many)(reply_node, reply))


def in_record(record: str, **fields: float | str) -> Interfere:
    def interfere(node: int, reply: Message) -> Message:
        if node == BAD and "0.report" in reply.content and "update" in str(reply.content["head"]):
            held = cast(dict[str, object], reply.content[record])
            for name, value in fields.items():
                held[name] = value
        return reply

    return interfere


def in_head(**fields: float | str) -> Interfere:
    return in_record("head", **fields)


def in_request(node: int, reply: Message) -> Message:
    if node == BAD and "0.report" in reply.content:
        reply.content["request"] = ConfigRecord({"junk": 1})
    return reply


def in_the_name_of(name: str) -> Interfere:
    """One client's update again, as somebody else's."""

    def interfere(node: int, reply: Message) -> Message:
        if node == BAD and "0.report" in reply.content and "update" in str(reply.content["head"]):
            parcel = records.unpack(reply.content)
            update = next(kinds["update"] for kinds in parcel.messages.values() if "update" in kinds)
            parcel.messages[name] = {"update": update}
            for key, record in records.pack(parcel).items():
                reply.content[key] = record
        return reply

    return interfere


def twice(node: int, reply: Message) -> Message:
    reply = cast(Message, in_the_name_of("again")(node, reply))
    if node == BAD and "0.report" in reply.content:
        head = reply.content.config_records["head"]
        names = cast(list[str], head["clients"])
        if "again" in names:
            of = cast(list[str], head["kinds"]).index("update")
            head["clients"] = [names[of] if name == "again" else name for name in names]
    return reply


FAULTS: dict[str, tuple[Interfere, str]] = {
    "NaN in rows": (
        of_update(lambda u: with_row(u, math.nan)),
        "returned a change of rows that is not finite",
    ),
    "infinite row": (
        of_update(lambda u: with_row(u, math.inf)),
        "returned a change of rows that is not finite",
    ),
    "NaN in body": (
        of_update(lambda u: replace(u, body={k: v + math.nan for k, v in u.body.items()})),
        "not finite",
    ),
    "a row of 1e30": (
        of_update(lambda u: with_row(u, 1e30)),
        "change of rows that is 1e+30, not within ±10000",
    ),
    "a row of -3e38": (of_update(lambda u: with_row(u, -3e38)), "change of rows that is -3e+38, not within"),
    "a body of 1e30": (
        of_update(lambda u: replace(u, body={k: v + 1e30 for k, v in u.body.items()})),
        "not within ±10000",
    ),
    "NaN loss": (changed("update", loss=math.nan), "loss = nan: must be finite"),
    "a loss of 1.7e308": (changed("update", loss=1.7e308), "loss = 1.7e+308: must be finite, within"),
    "row too long": (of_update(lambda u: replace(u, rows=u.rows[:, :-1])), "rows of shape"),
    "rows missing": (of_update(lambda u: replace(u, rows=u.rows[:-1])), "rows of shape"),
    "rows of another type": (of_update(lambda u: replace(u, rows=u.rows.double())), "rows of type float64"),
    "rows of int8": (
        of_update(lambda u: replace(u, rows=u.rows.to(torch.int8))),
        "rows of type int8: must be",
    ),
    "rows of bool": (of_update(lambda u: replace(u, rows=u.rows > 0)), "rows of type bool"),
    "rows of uint16": (of_update(lambda u: replace(u, rows=u.rows.to(torch.uint16))), "rows of type uint16"),
    "a scale too much": (changed("update", scales={"rows": torch.ones(3)}), "scale.rows: is in only one of"),
    "a complex scale": (
        changed("update", scales={"x": torch.zeros(3, dtype=torch.complex64)}),
        "scale.x of type complex64",
    ),
    "rows without shape": (of_update(lambda u: replace(u, rows=torch.tensor(1.0))), "rows of shape ()"),
    "a shape that nobody can make": (absurd_shape, "array rest: "),
    "body missing": (changed("update", body={}), "is in only one of the message and the model"),
    "body of another shape": (
        of_update(lambda u: replace(u, body={k: v[..., None] for k, v in u.body.items()})),
        "of shape",
    ),
    "NaN in the tail": (
        of_update(lambda u: with_tail(u, lambda t: t + math.nan)),
        "returned a change of tail that is not finite",
    ),
    "a tail of 1e30": (
        of_update(lambda u: with_tail(u, lambda t: t + 1e30)),
        "change of tail that is 1e+30, not within ±10000",
    ),
    "a tail that is too large in all": (
        of_update(lambda u: with_tail(u, lambda t: torch.full_like(t, 9999.0))),
        "change of the tail that may move a row by ",
    ),
    "a tail of fewer planes": (of_update(lambda u: with_tail(u, lambda t: t[:-1])), "tail of shape"),
    "a tail of longer rows": (
        of_update(lambda u: with_tail(u, lambda t: torch.cat([t, t], 1))),
        "tail of shape",
    ),
    "a tail of another type": (
        of_update(lambda u: with_tail(u, torch.Tensor.double)),
        "tail of type float64",
    ),
    "a tail of int8": (
        of_update(lambda u: with_tail(u, lambda t: t.to(torch.int8))),
        "tail of type int8: must be float32",
    ),
    "no tail": (changed("update", tail=None), "tail: must be there exactly where planes were sent"),
    "a sketch that nobody asked for": (
        changed("keys", sketch={"codes": np.zeros((1, 4), np.uint8)}),
        "sketch: none was asked for",
    ),
    "queries of 1e17": (edit("keys", far_queries), "queries are not finite, or absurdly large"),
    "a report of half a bound": (
        in_record("0.report", bounded=0.5),
        "report: bounded = 0.5: must be an integer from 0",
    ),
    "ids out of range": (of_update(lambda u: with_ids(u, shifted)), "this index has rows 0 to 43"),
    "negative ids": (of_update(lambda u: with_ids(u, negative)), "ids from -1"),
    "ids repeated": (of_update(lambda u: with_ids(u, repeated)), "must ascend without repetition"),
    "ids not sorted": (of_update(lambda u: with_ids(u, lambda i: i[::-1].copy())), "must ascend"),
    "ids not sent": (of_update(lambda u: with_ids(u, not_sent)), "was not sent to this client"),
    "ids of another type": (
        of_update(lambda u: with_ids(u, lambda i: i.astype(np.int64))),
        "ids of type int64",
    ),
    "no ids": (changed("update", ids=None), "must be there exactly where"),
    "few rows": (
        of_update(lambda u: replace(with_ids(u, lambda i: i[:2]), rows=u.rows[:2])),
        "must be trained on",
    ),
    "stale update": (changed("update", round=7), "round = 7: a message of another round"),
    "stale keys": (changed("keys", round=7), "round = 7: a message of another round"),
    "no weight": (changed("update", weight=0), "weight = 0: must be from 1 to"),
    "much weight": (changed("update", weight=10**9), "weight = 1000000000: must be from 1 to"),
    "strange keys": (changed("keys", keys={"surprise": np.zeros(3, np.uint8)}), "keys ['surprise']"),
    "large keys": (changed("keys", keys={"codes": np.zeros(70_000_000, np.uint8)}), "keys of 70000000 bytes"),
    "many keys": (more_keys, "at most 32 can be needed"),
    "keys of bool": (changed("keys", keys={"codes": np.zeros(3, bool)}), "codes of type bool"),
    "keys without shape": (changed("keys", keys={"codes": np.array(3, np.uint8)}), "codes of shape ()"),
    "declares all": (
        edit("declare", lambda m: replace(cast(Declare, m), own=np.arange(-1, 43, dtype=np.int32))),
        "declared rows: ids from -1",
    ),
    "declares no int32": (
        edit("declare", lambda m: replace(cast(Declare, m), own=cast(Declare, m).own.astype(np.int64))),
        "own of type int64: must be int32",
    ),
    "declares nothing to hold": (changed("declare", budget=0), "declared budget = 0"),
    "100 MB too much": (extra_array, "unexpected array junk"),
    "100 MB in a record of its own": (extra_record, "unexpected junk in a message"),
    "10 MB of rows": (of_update(wide_rows), "rows of shape"),
    "garbage": (garbage, "not a message of hashfed"),
    "an infinite round": (in_head(round=math.inf), "ValueError: round = inf"),
    "a negative round": (in_head(round=-1), "ValueError: round = -1"),
    "another round": (in_head(round=3), "round = 3: a message of another round, it was asked in 1"),
    "a field too much in the head": (in_head(junk="x"), "unexpected junk in head"),
    "a field too much in the time": (in_record("time", junk=1), "unexpected junk in time"),
    "a request of its own": (in_request, "unexpected junk in request"),
    "another message": (
        edit("update", lambda m: ClientKeys(1, {"codes": np.zeros(1, np.uint8)})),
        "a message keys, which was not asked for",
    ),
    "a client that was not asked": (in_the_name_of("c999"), "client c999: was not asked"),
    "a message for all": (in_the_name_of(""), "a message update, which was not asked for"),
    "the same client twice": (twice, "two messages update of client"),
    "a report of other rows": (
        in_record("0.report", rows=1e9),
        "report: rows = 1000000000.0: must be an integer from",
    ),
    "a report of NaN": (
        in_record("0.report", flops=math.nan),
        "report: flops = nan: must be an integer from 0",
    ),
    "a report of half a row": (
        in_record("0.report", own=0.5),
        "report: own = 0.5: must be an integer from 0",
    ),
    "a report too much": (in_record("0.report", junk=1.0), "report: junk is unknown"),
}


Without = Callable[[frozenset[str]], tuple[RoundRecord, Parameters]]


@pytest.fixture(scope="module")
def without(texts: Path) -> Without:
    """A round in which some clients only say that they have no memory."""

    @cache
    def reference(clients: frozenset[str]) -> tuple[RoundRecord, Parameters]:
        def interfere(node: int, reply: Message) -> Message:
            if "0.report" in reply.content:
                parcel = records.unpack(reply.content)
                for name in clients & parcel.messages.keys():
                    del parcel.messages[name], parcel.reports[name]
                    parcel.problems[name] = "no memory"
                time = reply.content["time"]
                reply.content = records.pack(parcel)
                reply.content["time"] = time
            return reply

        config, data = prepare(texts)
        (record,), parameters, _ = play(config, data, interfere)
        assert record.failed == dict.fromkeys(sorted(clients), "no memory")
        return record, parameters

    return reference


@pytest.mark.parametrize("fault", list(FAULTS))
def test_a_faulty_client_is_left_out(texts: Path, without: Without, fault: str) -> None:
    """The model is bit for bit that of a round without it, and so is all that the server keeps."""
    interfere, reason = FAULTS[fault]
    config, data = prepare(texts)
    (record,), parameters, said = play(config, data, interfere)
    bad = {name for name, text in record.failed.items() if reason in text}
    assert bad == set(record.failed) != set(), record.failed
    assert all(any(f"round 1: client {name}: " in line for line in said) for name in bad)
    expected, others = without(frozenset(bad))
    assert record.loss == expected.loss
    assert [report.client for report in record.reports] == [report.client for report in expected.reports]
    for name, value in parameters.named().items():
        assert torch.equal(value, others.named()[name])


def test_a_client_app_that_raises_is_named_with_its_error(texts: Path, without: Without) -> None:
    def interrupt(node: int, message: Message) -> None:
        if node == BAD and message.metadata.message_type == "train":
            raise RuntimeError("no memory")

    config, data = prepare(texts)
    (record,), parameters, _ = play(config, data, interrupt=interrupt)
    assert record.failed
    assert all("its ClientApp raised an exception" in text for text in record.failed.values())
    assert all("no memory" in text for text in record.failed.values())
    _, others = without(frozenset(record.failed))
    for name, value in parameters.named().items():
        assert torch.equal(value, others.named()[name])


@pytest.mark.parametrize("seconds", [1e300, -1.0, math.nan, math.inf, 3600.0])
def test_seconds_that_nobody_waited_are_none(texts: Path, seconds: float) -> None:
    """They are the only numbers that a client reports without consequence."""
    config, data = prepare(texts)

    def interfere(node: int, reply: Message) -> Message:
        for record in reply.content.metric_records.values():
            for name in record:
                if name.endswith("seconds"):
                    record[name] = seconds
        return reply

    found = play(config, data, interfere)[0][0]
    assert found.failed == {}
    assert [(report.seconds["hash"], report.seconds["train"]) for report in found.reports] == [(0.0, 0.0)] * 9
    assert {name: found.seconds[name] for name in found.seconds if name.endswith("_client")} == {
        f"{kind}_client": 0.0 for kind in ("query.declare", "query.hash", "train")
    }
    honest = play(config, data)[0][0]
    assert all(report.seconds["hash"] > 0 < report.seconds["train"] for report in honest.reports)
    assert all(value > 0 for value in honest.seconds.values())


def of_scales(change: Callable[[dict[str, torch.Tensor]], dict[str, torch.Tensor]]) -> Interfere:
    return of_update(lambda u: replace(u, scales=change(u.scales)))


@pytest.mark.parametrize(
    ("interfere", "reason"),
    [
        (of_scales(lambda s: {}), "is in only one of the message and the model"),
        (
            of_scales(lambda s: s | {"x": torch.ones(1)}),
            "scale.x: is in only one of the message and the model",
        ),
        (of_scales(lambda s: s | {"rows": s["rows"][:-1]}), "scale.rows of shape"),
        (of_scales(lambda s: s | {"rows": s["rows"].double()}), "scale.rows of type float64"),
        (of_scales(lambda s: s | {"rows": s["rows"] * math.nan}), "change of rows that is not finite"),
        (of_scales(lambda s: s | {"rows": s["rows"] + 1e36}), "not within ±10000"),
        (
            of_update(lambda u: replace(u, rows=u.rows.float(), scales={})),
            "rows of type float32: must be int8",
        ),
        (of_update(lambda u: replace(u, rows=u.rows[:-1])), "rows of shape"),
    ],
)
def test_a_faulty_compressed_update_is_left_out(texts: Path, interfere: Interfere, reason: str) -> None:
    config, data = prepare(texts)
    groups = config.model_dump() | {"compression": {"updates": "int8"}}
    (record,), parameters, _ = play(make_config(groups), data, interfere)
    assert record.failed
    assert all(reason in text for text in record.failed.values()), record.failed
    assert all(bool(torch.isfinite(value).all()) for value in parameters.named().values())


def with_sums(**fields: float) -> Interfere:
    """The bad node's sums over its held-out clients, changed."""

    def interfere(node: int, reply: Message) -> Message:
        if node == BAD and reply.metadata.message_type == "evaluate":
            parcel = records.unpack(reply.content)
            for numbers in parcel.reports.values():
                numbers |= fields
            reply.content = records.pack(parcel)
        return reply

    return interfere


def in_the_name_of_all(node: int, reply: Message) -> Message:
    """Sums of clients that this node does not host."""
    if node == BAD and reply.metadata.message_type == "evaluate":
        parcel = records.unpack(reply.content)
        one = next(iter(parcel.reports.values()))
        parcel.reports |= {f"c{number}": dict(one, words=1.0) for number in range(30)}
        reply.content = records.pack(parcel)
    return reply


def without_sums(node: int, reply: Message) -> Message:
    if node == BAD and reply.metadata.message_type == "evaluate":
        parcel = records.unpack(reply.content)
        parcel.reports.clear()
        reply.content = records.pack(parcel)
    return reply


@pytest.mark.parametrize(
    ("interfere", "reason"),
    [
        (with_sums(words=1e308), "words = 1e+308: must be an integer from 0 to"),
        (with_sums(words=-1.0), "words = -1.0: must be an integer from 0 to"),
        (
            with_sums(predictions=1e9, words=1e9),
            "predictions = 1000000000.0: must be an integer from 0 to 10000",
        ),
        (with_sums(correct=1e4), "correct = 10000.0: must be an integer from 0 to"),
        (with_sums(correct=0.5), "correct = 0.5: must be an integer from 0 to"),
        (with_sums(nll=math.nan), "nll = nan: must be from"),
        (with_sums(all_nll=math.inf), "all_nll = inf: must be from"),
        (with_sums(nll=-9.0), "nll = -9.0: must be from -0.0"),
        (with_sums(surprise=1.0), "surprise is in only one of the message and what is asked for"),
        (in_the_name_of_all, "was not asked"),
        (without_sums, "no sums in its answer"),
    ],
)
def test_sums_that_nobody_can_have_are_left_out(texts: Path, interfere: Interfere, reason: str) -> None:
    config, data = prepare(texts, evaluation="clients")
    said: list[str] = []

    def evaluate(interfere: Interfere) -> dict[str, float]:
        with FlowerRounds(
            LoopbackGrid(app, partitions(config.data.source), interfere), config, data, said.append
        ) as engine:
            engine.run_round()
            return engine.evaluate()

    silent = evaluate(lambda node, reply: without_sums(node, reply))
    said.clear()
    assert evaluate(interfere) == silent
    assert any(line.startswith("evaluation: ") and reason in line for line in said), said


def test_a_reason_of_100_mb_is_cut(texts: Path) -> None:
    """Nobody fills the log, or metrics.jsonl, with what it gives as a reason."""
    config, data = prepare(texts)

    def interfere(node: int, reply: Message) -> Message:
        if node == BAD and "0.report" in reply.content:
            names = cast(list[str], reply.content.config_records["head"]["clients"])
            text = ["why\nnot" * 1_000_000] * len(names)
            reply.content = RecordDict(
                {"head": ConfigRecord({"round": 1, "failed": names, "problems": text})}
            )
        return reply

    (record,), _, _ = play(config, data, interfere)
    assert record.failed
    assert all(text.startswith("why notwhy not") and len(text) == 500 for text in record.failed.values())


@pytest.mark.usefixtures("clock")
@pytest.mark.parametrize("kind", ["query.declare", "query.hash", "train"])
def test_a_silent_node_ends_with_the_deadline(texts: Path, kind: str) -> None:
    def interfere(node: int, reply: Message) -> Message | None:
        return None if node == BAD and reply.metadata.message_type == kind else reply

    config, data = prepare(texts, deadline=1.5)
    (record,), _, _ = play(config, data, interfere)
    assert record.failed
    exchange = kind.rpartition(".")[2]
    assert set(record.failed.values()) == {f"no answer to {exchange} within 1.5 s"}
    assert len(record.failed) + len(record.reports) == 9


@pytest.mark.parametrize("kind", ["query.declare", "query.hash", "train"])
def test_a_node_that_forgot_everything_joins_again(texts: Path, kind: str) -> None:
    """A SuperNode that was started anew has lost what it kept between exchanges."""
    seen: list[str] = []
    config, data = prepare(texts)

    def interrupt(node: int, message: Message) -> None:
        if node == BAD and message.metadata.message_type == kind and not seen:
            seen.append(kind)
            grid.contexts[BAD].state.clear()

    grid = LoopbackGrid(app, partitions(config.data.source), interrupt=interrupt)
    with FlowerRounds(grid, config, data) as engine:
        first = engine.run_round()
        engine._members._looked = 0.0
        engine.run_round()
        engine._members._looked = 0.0
        engine.run_round()
        last = engine.run_round()
    assert seen
    assert set(first.failed.values()) == {"this node was started anew and has not joined the run yet"}
    assert last.failed == {}
    hosted = set(first.failed)
    assert hosted & {report.client for report in last.reports} or len(last.reports) == 9


@pytest.mark.usefixtures("clock")
def test_with_too_few_the_model_stays(texts: Path) -> None:
    config, data = prepare(texts, minimum_share=0.9, deadline=2)

    def interfere(node: int, reply: Message) -> Message | None:
        if node != 1 and reply.has_content() and "0.report" in reply.content:
            return of_update(lambda u: with_row(u, math.nan))(BAD, reply)
        return reply

    said: list[str] = []
    with FlowerRounds(
        LoopbackGrid(app, partitions(config.data.source), interfere), config, data, said.append
    ) as engine:
        before = engine.state.parameters.clone()
        with pytest.raises(
            TooFewAnsweredError, match=r"of 9 clients answered, flower\.minimum_share = 0\.9 asks for 9"
        ):
            engine.run_round()
        assert engine.state.round == 0
        assert engine.state.shares.total == 0
        for name, value in engine.state.parameters.named().items():
            assert torch.equal(value, before.named()[name])
    assert sum("attempt" in line for line in said) == 3


def test_nodes_that_answer_with_errors_are_left_out_of_the_next_attempt(texts: Path) -> None:
    """A node that always answers with errors would end the run."""
    config, data = prepare(texts, minimum_share=1.0)
    bad = of_update(lambda update: with_row(update, math.nan))
    said: list[str] = []
    grid = LoopbackGrid(app, partitions(config.data.source), bad)
    with FlowerRounds(grid, config, data, said.append) as engine:
        found = [engine.run_round() for _ in range(3)]
        names = {name for name in engine._members.train if engine._members.node(name) == BAD}
        following = engine._following
    assert [len(record.reports) for record in found] == [9, 9, 9]
    assert any("attempt 1 of 3" in line for line in said)
    assert not any("attempt 2 of 3" in line for line in said)
    assert following is not None
    # Each round begins with everybody, so that a server that is resumed draws the same.
    assert names & set(following.cohort)
    assert following.cohort == engine._draw(following.round).cohort


@pytest.mark.usefixtures("clock")
def test_a_server_does_not_choose_the_file_that_a_node_reads(texts: Path) -> None:
    config, data = prepare(texts, patience=1)
    nodes: list[UserConfig] = [{"partition-id": 0, "num-partitions": 1}]
    with (
        FlowerRounds(LoopbackGrid(app, nodes), config, data) as engine,
        pytest.raises(HashfedError, match="this node must say itself what it reads: source=PATH"),
    ):
        engine.run_round()


@pytest.mark.usefixtures("clock")
def test_without_clients_the_run_says_who_could_not_join(texts: Path) -> None:
    data = small_data(texts)
    config = small_config(texts, flower={"patience": 1})
    nodes: list[UserConfig] = [{"texts": "/no/such/folder"}, {}, {"partition-id": 5, "num-partitions": 3}]
    with (
        FlowerRounds(LoopbackGrid(app, nodes), config, data) as engine,
        pytest.raises(Exception, match="only 0 of 5 clients have joined within 1 s") as caught,
    ):
        engine.run_round()
    text = str(caught.value)
    assert "/no/such/folder: no such file" in text
    assert "node-config: names no data" in text
    assert "partition-id = 5: must be from 0 to 2" in text


def test_a_raising_client_does_not_stop_the_others_on_its_node(texts: Path) -> None:
    """Only the client whose memory is damaged fails; its node answers for the rest."""
    config, data = prepare(texts)
    damaged: list[str] = []

    def interrupt(node: int, message: Message) -> None:
        if node == BAD and message.metadata.message_type == "query.hash" and not damaged:
            parcel = records.unpack(message.content)
            name = next(iter(parcel.messages))
            damaged.append(name)
            state = grid.contexts[BAD].state
            names = cast(list[str], state.config_records["setup"]["clients"])
            state[f"examples.{names.index(name)}"] = records.arrays({"inputs": torch.zeros(1)})

    grid = LoopbackGrid(app, partitions(config.data.source), interrupt=interrupt)
    with FlowerRounds(grid, config, data) as engine:
        record = engine.run_round()
    assert list(record.failed) == damaged
    assert record.failed[damaged[0]] == "KeyError: 'targets'"
    assert len(record.reports) == 8


def only_bad_clients_fail(record: RoundRecord, reason: str) -> None:
    assert record.failed
    assert all(reason in text for text in record.failed.values()), record.failed
    assert len(record.failed) + len(record.reports) == 9
    assert record.reports


@pytest.mark.parametrize(
    "groups",
    [
        {"selection": {"correction": "tail"}},
        {"retrieval": {"method": "frequency"}},
        {"selection": {"delivery": "broadcast"}},
        {"retrieval": {"method": "full"}},
    ],
)
def test_a_tail_where_no_planes_were_sent_is_refused(texts: Path, groups: dict[str, object]) -> None:
    config, data = prepare(texts)
    config = small_config(texts, cohort=9, flower=config.flower.model_dump(), **groups)
    (record,), _, _ = play(config, data, changed("update", tail=torch.zeros(3, 8)))
    only_bad_clients_fail(record, "tail: must be there exactly where planes were sent")


SKETCHES: dict[str, tuple[Callable[[dict[str, np.ndarray]], dict[str, np.ndarray]], str]] = {
    "none": (lambda sketch: {}, "keys []: this index needs"),
    "one array": (lambda sketch: {"codes": sketch["codes"]}, "this index needs codes, counts, scales"),
    "other codes": (
        lambda sketch: sketch | {"codes": sketch["codes"][:, :-1]},
        "codes of type uint8 and shape",
    ),
    "no counts": (lambda sketch: sketch | {"counts": 0 * sketch["counts"]}, "must be integers of at least 1"),
    "NaN": (lambda sketch: sketch | {"scales": sketch["scales"] * np.nan}, "scales: must be finite"),
    "far": (
        lambda sketch: sketch | {"scales": np.full_like(sketch["scales"], 1e30)},
        "queries are not finite, or absurdly large",
    ),
    "beyond what float32 tells apart": (
        lambda sketch: sketch | {"scales": np.full_like(sketch["scales"], 1e9)},
        "queries are not finite, or absurdly large",
    ),
    "infinite once decoded": (
        lambda sketch: sketch | {"scales": np.full_like(sketch["scales"], 3e38)},
        "queries are not finite, or absurdly large",
    ),
    "too many": (
        lambda sketch: {name: np.concatenate([value] * 40) for name, value in sketch.items()},
        "at most 5 can be needed",
    ),
}


@pytest.mark.parametrize("kind", SKETCHES)
@pytest.mark.parametrize("method", ["frequency", "simhash-union"])
def test_a_sketch_that_is_made_up_costs_only_its_client(texts: Path, kind: str, method: str) -> None:
    change, reason = SKETCHES[kind]
    config, data = prepare(texts)
    groups: dict[str, object] = {
        "retrieval": {"method": method},
        "selection": {"points": "sketch", "planes": 5, "extra": 0},
    }
    config = small_config(texts, cohort=9, flower=config.flower.model_dump(), **groups)

    def edited(message: HashfedMessage) -> HashfedMessage:
        keys = cast(ClientKeys, message)
        return replace(keys, sketch=change(keys.sketch))

    (record,), parameters, _ = play(config, data, edit("keys", edited))
    only_bad_clients_fail(record, reason)
    assert bool(torch.isfinite(parameters.rows).all())


def test_counts_that_are_made_up_give_some_points(texts: Path) -> None:
    """They only say how centroids are merged: the model stays finite, whatever they are."""
    config, data = prepare(texts)
    config = small_config(texts, cohort=9, flower=config.flower.model_dump(), selection={"planes": 2})

    def edited(message: HashfedMessage) -> HashfedMessage:
        keys = cast(ClientKeys, message).keys
        counts = np.ones(len(keys["counts"]), np.int64)
        counts[0] = 2**62
        return ClientKeys(message.round, keys | {"counts": counts})

    (record,), parameters, _ = play(config, data, edit("keys", edited))
    assert record.failed == {}
    assert bool(torch.isfinite(parameters.rows).all())
