import json
import math
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hashfed.bench.synthetic import synthetic_text
from hashfed.config import Config, make_config
from hashfed.cost import run
from hashfed.cost.budgets import Budget, OwnAnd
from hashfed.cost.case import Case
from hashfed.cost.deliveries import learns
from hashfed.cost.estimate import ClientCost
from hashfed.cost.keys import Hashing, typical_hashing
from hashfed.cost.memory import LIBRARIES, Phases, peak_phase, predict_memory, step_logits
from hashfed.cost.model_sizes import ModelSizes
from hashfed.cost.run import Bill, bill
from hashfed.cost.search import Found, Limits, Search, largest
from hashfed.cost.slices import BucketTraffic, fetched_slices, typical_buckets
from hashfed.cost.variants import (
    at_budget,
    held_planes,
    held_rows,
    size_step,
    with_model,
    with_size,
)
from hashfed.cost.workload import Workload, busiest_and_median, draw_workload
from hashfed.engines.budget import build_model
from hashfed.engines.client_round import ClientReport, ClientRound
from hashfed.engines.device_memory import busiest_client
from hashfed.engines.exchange import play_round
from hashfed.engines.flops import round_flops, server_flops
from hashfed.engines.server_round import ServerRound
from hashfed.engines.single_thread import single_thread
from hashfed.engines.trial import trial_floats
from hashfed.errors import HashfedError
from hashfed.federated.messages import Update
from hashfed.federated.settings import CompressionSettings
from hashfed.hashing.codes import RotatedCodes
from hashfed.models import Transformer
from hashfed.randomness import stream
from hashfed.retrieval import NoEncoder, build_index
from hashfed.retrieval.query_centroids import QueryCentroidsEncoder
from hashfed.tasks.federated_data import Client
from hashfed.tasks.registry import make_task
from hashfed.tasks.sequences import Sequences
from said_sizes import Lookup, SaidSizes, workload
from small import small_config, small_data

UNTIED = {"embedding": 8, "attention": 8, "heads": 2, "ffn": 16, "blocks": 2, "tie_embeddings": False}
METHODS: dict[str, dict[str, object]] = {
    "default": {},
    "full": {"retrieval": {"method": "full"}},
    "all rows": {"selection": {"budget": 1}},
    "capped": {"selection": {"budget": 1, "max_rows": 30}},
    "few": {"selection": {"budget": 0.1}},
    "truncated": {"selection": {"budget": 0.3}, "client": {"own_rows": "truncate"}},
    "random": {"retrieval": {"method": "random"}, "selection": {"sampling": "top", "tail": 1}},
    "frequency": {"retrieval": {"method": "frequency"}, "selection": {"sampling": "top", "tail": 0.5}},
    "paper": {
        "retrieval": {"method": "simhash-union", "transform": "whiten"},
        "selection": {"sampling": "top", "tail": 0, "correction": "none"},
    },
    "codes": {"retrieval": {"method": "query-codes"}, "client": {"epochs": 2}},
    "exact": {"retrieval": {"method": "exact"}},
    "own rows": {"selection": {"extra": 0}},
    "own and 3": {"selection": {"extra": 3}},
    "own and more than all": {"selection": {"extra": 100}},
    "own and 5%": {"selection": {"extra": 0.05}, "client": {"epochs": 2}, "server": {"clip": 1.0}},
    "own, capped": {"selection": {"extra": 0.5, "max_rows": 30}},
    "few planes": {"selection": {"planes": 3}},
    "one plane": {"selection": {"planes": 1, "extra": 2}, "retrieval": {"method": "query-codes"}},
    "few centroids": {"selection": {"correction": "control-variate"}, "retrieval": {"centroids": 5}},
    "sample": {"selection": {"correction": "tail"}},
    "no planes": {"selection": {"planes": 0}},
    "sketch": {"retrieval": {"method": "frequency"}, "selection": {"points": "sketch", "planes": 7}},
    "input table": {"model": UNTIED},
    "input table, all rows": {"model": UNTIED, "retrieval": {"method": "full"}},
    "input table, compressed": {
        "model": UNTIED,
        "compression": {"rows": "bfloat16", "updates": "int8"},
    },
    "input table, broadcast": {"model": UNTIED, "selection": {"delivery": "broadcast"}},
    "input table, slices": {
        "model": UNTIED,
        "retrieval": {"method": "simhash-union"},
        "selection": {"delivery": "pre-generated"},
    },
    "sketch, hashed": {"retrieval": {"method": "simhash-union"}, "selection": {"points": "sketch"}},
    "sketch beside centroids": {
        "retrieval": {"code_bits": 1, "centroids": 3},
        "selection": {"points": "sketch", "planes": 9, "extra": 1},
    },
    "sketch, dropped": {
        "retrieval": {"method": "random"},
        "selection": {"points": "sketch", "sampling": "top", "tail": 0.2, "budget": 0.8},
    },
}


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    with single_thread():
        yield


def played(config: Config, texts: Path, client: Client) -> tuple[Update, ClientReport]:
    data, model = small_data(texts), build_model(config)
    parameters = model.init(data.sizes, stream(config.seed, "init"))
    index = build_index(parameters.rows, config.retrieval, data.label_counts, config.seed)
    there = ServerRound.of(config, parameters, index, 1, data.label_counts)
    found = play_round(there, ClientRound(config, model, client, 1, parameters.sizes))
    return found.update, found.report


@pytest.mark.parametrize("name", METHODS)
@pytest.mark.parametrize("who", ["busiest", "median"])
def test_costs_are_those_of_a_round_that_is_played(name: str, who: str, texts: Path) -> None:
    check_cost(small_config(texts, **METHODS[name]), texts, who)


@pytest.mark.parametrize("name", ["default", "full", "random"])
@pytest.mark.parametrize("rows", ["none", "float16", "bfloat16"])
@pytest.mark.parametrize("updates", ["none", "float16", "bfloat16", "int8"])
def test_compressed_messages_cost_what_they_weigh(name: str, rows: str, updates: str, texts: Path) -> None:
    compression = {"rows": rows, "updates": updates, "error_feedback": updates != "none"}
    check_cost(small_config(texts, **METHODS[name], compression=compression), texts, "busiest")


@pytest.mark.parametrize("name", ["few planes", "sketch", "own and 3"])
@pytest.mark.parametrize(
    ("rows", "updates"), [("float16", "int8"), ("bfloat16", "bfloat16"), ("none", "float16")]
)
def test_compressed_planes_cost_what_they_weigh(name: str, rows: str, updates: str, texts: Path) -> None:
    compression = {"rows": rows, "updates": updates, "error_feedback": True}
    check_cost(small_config(texts, **METHODS[name], compression=compression), texts, "busiest")


def check_cost(config: Config, texts: Path, who: str) -> None:
    """The bill of a client against a round that it plays."""
    data = small_data(texts)
    made = Bill(config, data, measure=False)
    client = made.clients[who]
    cost = made.cost(config, client)
    _, report = played(config, texts, client)
    assert cost.bytes == report.bytes
    assert list(cost.bytes) == list(report.bytes)
    assert sum(cost.flops.values()) == report.flops
    assert (cost.parameters, cost.rows) == (report.parameters, report.rows)
    assert (cost.planes > 0) == (report.bounded is not None)
    assert cost.workload.predictions == report.predictions
    np.testing.assert_array_equal(cost.workload.own, report.own)
    assert cost.traffic == cost.bytes_down + cost.bytes_up == sum(cost.bytes.values())


@pytest.mark.parametrize("budget", [1.0, 0.3, 0.1])
@pytest.mark.parametrize("delivery", ["on-demand", "broadcast", "pre-generated"])
@pytest.mark.parametrize(
    "retrieval",
    [
        {"method": "simhash-union"},
        {"method": "simhash-collisions", "transform": "simple-lsh", "norm_ranges": 3, "probes": 1},
        {"method": "simhash-collisions", "transform": "whiten", "projections": "pca"},
        {"method": "simhash-union", "bits": 9, "tables": 3},
        {"method": "frequency"},
        {"method": "random"},
        {"method": "query-centroids"},
    ],
)
def test_costs_of_every_delivery_are_those_played(
    retrieval: dict[str, object], delivery: str, budget: float, texts: Path
) -> None:
    if delivery == "pre-generated" and retrieval["method"] == "query-centroids":
        return
    selection = {"delivery": delivery, "budget": budget}
    config = small_config(texts, retrieval=retrieval, selection=selection)
    made = Bill(config, small_data(texts), measure=False)
    client = made.clients["busiest"]
    cost = made.cost(config, client)
    _, report = played(config, texts, client)
    # The slices' bytes are those of the round's index and keys, to the byte.
    assert cost.bytes == report.bytes
    assert list(cost.bytes) == list(report.bytes)
    assert (cost.parameters, cost.rows) == (report.parameters, report.rows)
    assert sum(cost.flops.values()) == report.flops
    assert cost.bytes_down + cost.bytes_up == sum(cost.bytes.values())


def test_deliveries_side_by_side(texts: Path) -> None:
    retrieval = {"method": "simhash-union"}
    config, data = small_config(texts, retrieval=retrieval, selection={"budget": 0.5}), small_data(texts)
    found = bill(config, data, [1.0], Limits(), measure=False)["deliveries"]
    assert list(found) == ["on-demand", "broadcast", "pre-generated", "secure"]
    assert found.pop("secure")["refused"].startswith("selection.delivery = secure: needs retrieval.method ")
    budget = max(
        22,
        len(
            Bill(config, data, measure=False)
            .cost(config, busiest_client(config, build_model(config), data))
            .workload.own
        ),
    )
    assert [entry["rows_held"] for entry in found.values()] == [budget, 44, budget]
    assert found["on-demand"]["learns"] == "the rows that its data need and the keys of its queries"
    assert found["broadcast"]["learns"].startswith("nothing before the update")
    assert "without a name" in found["pre-generated"]["learns"]
    update = found["on-demand"]["bytes"]["update"]
    assert found["broadcast"]["bytes_up"] == found["pre-generated"]["bytes_up"] == update
    # A request for the manifest, one for each row, and some for buckets.
    assert found["pre-generated"]["requests"] > 1 + budget
    assert found["broadcast"]["requests"] == 0
    assert {entry["planes"] for entry in found.values()} == {0}

    full = bill(small_config(texts, retrieval={"method": "full"}), data, [1.0], Limits(), measure=False)
    assert full["deliveries"]["on-demand"]["learns"].startswith("nothing before the update")
    untied = small_config(texts, model=UNTIED, retrieval={"method": "full"})
    assert learns(untied) == "the rows that its data need"
    assert full["deliveries"]["pre-generated"]["refused"].startswith(
        "selection.delivery = pre-generated: needs"
    )


@pytest.mark.parametrize("method", ["query-centroids", "simhash-union"])
def test_planes_go_with_one_delivery(method: str, texts: Path) -> None:
    """The others are told by the sample, or refused where planes are asked for."""
    retrieval = {"method": method}
    selection = {"extra": 2, "points": "keys" if method == "query-centroids" else "sketch", "planes": 5}
    config, data = small_config(texts, retrieval=retrieval, selection=selection), small_data(texts)
    found = bill(config, data, [1.0], Limits(), measure=False)["deliveries"]
    assert found["on-demand"]["planes"] == 5
    assert (
        found["on-demand"]["learns"]
        == {
            "query-centroids": "the rows that its data need and the keys of its queries",
            "simhash-union": "the rows that its data need and the keys and centroids of its queries",
        }[method]
    )
    assert found["broadcast"]["planes"] == 0
    assert found["broadcast"]["bytes_up"] < found["on-demand"]["bytes"]["update"]

    asked = small_config(texts, retrieval=retrieval, selection=selection | {"correction": "control-variate"})
    strict = bill(asked, data, [1.0], Limits(), measure=False)["deliveries"]
    assert strict["on-demand"] == found["on-demand"]
    assert strict["broadcast"]["refused"].startswith(
        "selection.correction = control-variate: needs selection.delivery on-demand, not broadcast"
    )
    assert "refused" in strict["pre-generated"]


def test_what_the_server_learns_of_a_sketch_alone(texts: Path) -> None:
    config = small_config(texts, **METHODS["sketch"])
    found = bill(config, small_data(texts), [1.0], Limits(), measure=False)["deliveries"]
    assert found["on-demand"]["learns"] == "the rows that its data need and centroids of its queries"


def test_work_of_the_server_by_hand(texts: Path) -> None:
    n, d, k, c, drawn = 1000, 8, 5, 7, 30
    assert server_flops(n, d, c, k, drawn, norms=False) == {
        "retrieve": n * c * (2 * d + 2),  # products, and the sum of the weighted softmax
        "planes": 2 * (n + drawn) * 2 * k * d,
        "tail": 2 * n * 2 * k * d,
    }
    norms = server_flops(n, d, None, k, drawn, norms=True)
    assert norms["planes"] == 2 * (n + drawn) * 2 * k * d + 2 * n * k * k
    assert norms["retrieve"] is None
    assert set(server_flops(n, d, 0, 0, drawn, norms=True).values()) == {0}

    def work(name: str) -> dict[str, int | None]:
        made = Bill(small_config(texts, **METHODS[name]), small_data(texts), measure=False)
        return made.cost(made.config, made.clients["busiest"]).server_flops

    assert work("full") == {"retrieve": 0, "planes": 0, "tail": 0}
    assert work("paper") == {"retrieve": None, "planes": 0, "tail": 0}
    assert work("sketch") == {
        "retrieve": 0,
        "planes": 2 * (44 + work_drawn(texts)) * 2 * 7 * 8,
        "tail": 2 * 44 * 2 * 7 * 8,
    }
    few = work("few centroids")
    assert few["retrieve"] == 44 * 5 * (2 * 8 + 2)
    assert work("sample") == {"retrieve": work("default")["retrieve"], "planes": 0, "tail": 0}


def work_drawn(texts: Path) -> int:
    """Rows beyond its own of the busiest client."""
    made = Bill(small_config(texts), small_data(texts), measure=False)
    cost = made.cost(made.config, made.clients["busiest"])
    return cost.rows - len(cost.workload.own)


def test_planes_of_a_step_by_hand() -> None:
    model = Lookup()
    without = round_flops(model, None, 3, 100, (20, 5), 50, 50)
    found = round_flops(model, None, 3, 100, (20, 5), 50, 50, planes=6)
    assert without["planes"] == 0
    # Products with 6 slopes; the factor; the gradient, of two terms; what moves the tail.
    assert found == without | {"planes": 3 * 100 * 2 * 2 * (6 + 1 + 2 + 1)}
    sketcher = QueryCentroidsEncoder(RotatedCodes(2, 4, 0), 5)
    sketched = round_flops(model, None, 3, 100, (20, 5), 50, 50, planes=6, sketcher=sketcher)
    assert sketched == found | {"hash": sketcher.flops(100)}


def test_typical_slices_by_hand() -> None:
    settings = {"method": "simhash-union", "bits": 2, "tables": 3, "transform": "none"}
    config = make_config({"retrieval": settings})
    hashing = replace(typical_hashing(config, 5, 10), keys={"buckets": np.arange(6)})
    # A bucket of one in 4 is empty with chance (3/4)² in a model of 2 rows, and holds half a row.
    found = typical_buckets(config.retrieval.bucket_shape, hashing, 2)
    assert found == BucketTraffic(round(12 * 7 / 16), round(6 * 7 / 16), 3 * 4)
    assert fetched_slices(BucketTraffic(9, 2, 100), (5, 8), (3, 2)) == (10, 100 + (5 * 8 + 3 * 2) * 4)


def test_memory_of_deliveries_by_hand() -> None:
    selection = {"budget": 0.5, "planes": 0, "delivery": "broadcast"}
    model = {"embedding": 2, "attention": 2, "heads": 1}
    retrieval = {"method": "simhash-union"}
    config = make_config({"selection": selection, "model": model, "retrieval": retrieval})
    sent = {"broadcast": 1000, "update": 50}
    phases = predicted(config, sent)
    body, rows, own = 4 * 3, 4 * 2 * 20, 4 * 2 * 6
    pass_ = 4 * (100 * 190 + 10 * 64 + 5) + 2 * 4 * 2 * 200 + LIBRARIES
    found = {name: sum(terms.values()) for name, terms in phases.items()}
    assert found["receive"] == 2000
    assert found["hash"] == 1000 + own + pass_
    assert found["rows"] == 1000 + rows
    assert found["join"] == body + 3 * rows
    published = make_config(
        {"selection": selection | {"delivery": "pre-generated"}, "model": model, "retrieval": retrieval}
    )
    sliced = predicted(published, {"manifest": 300, "slices": 700, "update": 50})
    assert sum(sliced["rows"].values()) == 300 + rows + 700 + 8 * 40
    assert sliced["train"] == phases["train"]
    assert "hash" not in predicted(config, sent, hashes=False)


def test_rows_sent_to_be_dropped_are_at_most_those_predicted(texts: Path) -> None:
    selection = {"budget": 0.5, "sampling": "top", "tail": 0.1, "oversample": 1.5}
    config = small_config(texts, retrieval={"method": "exact"}, selection=selection)
    made = Bill(config, small_data(texts), measure=False)
    client = made.clients["median"]
    cost = made.cost(config, client)
    _, report = played(config, texts, client)
    assert cost.rows == report.rows
    assert cost.rows < cost.row_parameters // 8
    assert cost.parameters == report.parameters
    assert cost.bytes["rows"] == report.bytes["rows"]
    assert cost.flops["drop"] > 0
    assert sum(cost.flops.values()) == report.flops
    assert "drop" in cost.phases


def test_parameters_of_the_paper_s_table_1() -> None:
    sizes = ModelSizes.of(build_model(Config()), make_task(Config().data), {})
    weights = [
        math.prod(shape) for name, shape in sizes.body.items() if "blocks.0" in name and len(shape) == 2
    ]
    assert sum(weights) == 331_776  # 330K per block
    assert sizes.body_parameters == 3 * (331_776 + 2_400) + 2 * 96
    for words, rows, share in ((10_000, 960_384, 0.492), (80_000, 7_680_384, 0.885)):
        config = make_config({"retrieval": {"method": "full"}})
        found = Search(config, tiny_client(), {"output": words + 4}).cost(config)
        assert (found.row_parameters, found.body_parameters) == (rows, 1_002_720)
        assert found.row_parameters / found.parameters == pytest.approx(share, abs=0.004)


def tiny_client() -> Client:
    ids = np.array([[2, 4, 5, 3]], np.int32)
    return Client("tiny", Sequences(ids[:, :-1].copy(), ids[:, 1:].copy()))


def predicted(config: Config, sent: dict[str, int], hashes: bool = True, planes: int = 0) -> Phases:
    """Of a client with 6 of 40 rows of its own."""
    sizes = SaidSizes(Lookup(), make_task(Config().data), {"scale": (3,)})
    sketch = {"centroids": np.zeros(1)} if hashes else {}
    case = Case(config, sizes, 40, workload(own=6), Hashing(NoEncoder(), {}, sketch, planes))
    return predict_memory(case, sent)


def test_memory_by_hand() -> None:
    config = make_config(
        {"selection": {"budget": 0.5}, "model": {"embedding": 2, "attention": 2, "heads": 1}}
    )
    messages = {"declare": 7, "welcome": 1000, "keys": 9, "rows": 2000, "update": 5000}
    phases = predicted(config, messages)
    body, rows = 4 * 3, 4 * 2 * 20
    model = body + rows + (8 + 4) * 20
    expected = {
        "receive": 2 * 1000,
        "hash": 1000 + 4 * (100 * 190 + 10 * 64 + 5) + 2 * 4 * 2 * 200 + LIBRARIES,
        "rows": 1000 + 2 * 2000,
        "join": 1000 + 2000 + 2 * rows,
        "train": model
        + (body + rows)
        + body
        + 4 * 8 * 20
        + 4 * (100 * 8 + 10 * 2 + 5 + 1000)
        + 6 * 4 * 2 * 8
        + LIBRARIES,
        "send": model + (body + rows) + 2 * 5000 + LIBRARIES,
    }
    assert {name: sum(terms.values()) for name, terms in phases.items()} == expected
    assert peak_phase(phases) == "hash"

    clipped = config.model_copy(update={"client": config.client.model_copy(update={"clip": 1.0})})
    more = predicted(clipped, messages)
    assert sum(more["train"].values()) == expected["train"] + rows

    compression = CompressionSettings(rows="float16", updates="int8")
    narrow = config.model_copy(update={"compression": compression})
    more = predicted(narrow, messages)
    extra = {"hash": body + 4 * 2 * 6, "join": body + rows, "send": 5000}
    found = {name: sum(terms.values()) for name, terms in more.items()}
    assert found == {name: value + extra.get(name, 0) for name, value in expected.items()}

    planes = predicted(config, messages, planes=5)
    slopes, numbers = 5 * 4 * 2, 5 * 4
    held = 2 * slopes + 2 * numbers
    extra = {"train": held + 2 * slopes + numbers * 8, "send": held + slopes}
    found = {name: sum(terms.values()) for name, terms in planes.items()}
    assert found == {name: value + extra.get(name, 0) for name, value in expected.items()}

    full = predicted(at_budget(config, 1), {"welcome": 1, "rows": 1, "update": 1})
    assert list(full) == ["receive", "rows", "train", "send"]
    assert full["train"]["model"] == body + 4 * 2 * 40


def test_many_logits_are_held_in_parts() -> None:
    assert step_logits(10, 1000) == 10_000
    assert step_logits(1000, 80_004) == 419 * 80_004 < 2**25 < 420 * 80_004
    assert step_logits(3, 2**26) == 2**26


@pytest.mark.parametrize("length", [6, 70])
@pytest.mark.parametrize("padding", [0, 3])
@pytest.mark.parametrize("backward", [False, True])
def test_a_trial_run_counts_what_a_forward_pass_holds(length: int, padding: int, backward: bool) -> None:
    model = Transformer(embedding=16, attention=16, heads=2, ffn=64, blocks=2)
    task = make_task(Config().data)
    shapes = ModelSizes.of(model, task, {}).body
    positions = 8 * (length - padding)
    found = trial_floats(model, shapes, task, positions, 8, length, backward)
    # In proportion to the examples, but for rounding.
    half = trial_floats(model, shapes, task, positions // 2, 4, length, backward)
    assert found == 2 * half
    d, p, grid, scores = 16, positions, 8 * length * 16, 8 * 2 * length * min(length, 64)
    if backward:
        # In each block at least the norms' inputs and outputs, the hidden layer, queries, keys and values.
        assert 2 * (p * (4 * d + 64) + 3 * grid) <= found
        assert found <= 2 * (p * (9 * d + 64) + 5 * grid + scores) + 4 * p * d
    else:
        assert p * (64 + d) <= found <= p * (64 + 8 * d) + 7 * grid + 2 * scores


def test_workloads(texts: Path) -> None:
    config, data = small_config(texts), small_data(texts)
    clients = busiest_and_median(config, data)
    size = data.size
    assert clients["busiest"] is busiest_client(config, build_model(config), data)
    counts = sorted(draw_workload(config, client, size).predictions for client in data.train)
    assert draw_workload(config, clients["busiest"], size).predictions == counts[-1]
    assert draw_workload(config, clients["median"], size).predictions == counts[(len(counts) - 1) // 2]

    targets = np.array([[5, 3, 0], [5, 6, 3], [3, 0, 0], [7, 8, 9]], np.int32)
    inputs = np.array([[2, 5, 0], [2, 5, 6], [2, 0, 0], [2, 7, 8]], np.int32)
    found = Workload.of("hand", build_model(config), Sequences(inputs, targets), batch_size=2)
    assert (found.examples, found.length, found.predictions) == (4, 3, 9)
    assert (found.step_positions, found.step_examples, found.steps) == (6, 2, 2)
    assert (found.hash_positions, found.hash_examples) == (9, 4)
    assert found.own.tolist() == [2, 3, 5, 6, 7, 8, 9]


def test_fewer_words_make_the_others_out_of_vocabulary() -> None:
    client, config = tiny_client(), Config()
    assert draw_workload(config, client, 6).own.tolist() == [2, 3, 4, 5]
    assert draw_workload(config, client, 5).own.tolist() == [1, 2, 3, 4]
    assert draw_workload(config, client, 10**6).own.tolist() == [2, 3, 4, 5]


def test_rows_of_a_budget() -> None:
    config = make_config({"selection": {"budget": 0.1}})
    assert held_rows(config, 1000, 30) == (100, 100)
    assert held_rows(config, 1000, 300) == (300, 300)
    assert held_rows(at_budget(config, 1), 1000, 300) == (1000, 1000)
    top = make_config({"selection": {"budget": 0.1, "sampling": "top", "tail": 0.2, "oversample": 3}})
    assert held_rows(top, 1000, 30) == (300, 100)
    assert held_rows(top, 1000, 80) == (100, 100)  # no room for candidates
    many = make_config({"selection": {"budget": 0.5, "sampling": "top", "oversample": 3}})
    assert held_rows(many, 1000, 30) == (1000, 500)
    assert held_planes(many, 1000, 30, 7) == 7  # for fewer may be found
    own = make_config({"selection": {"extra": 0.01}})
    assert held_rows(own, 1000, 30) == (40, 40)
    assert held_rows(make_config({"selection": {"extra": 300}}), 1000, 30) == (330, 330)
    assert held_rows(make_config({"selection": {"extra": 0}}), 1000, 30) == (30, 30)
    assert held_rows(own, 1000, 995) == (1000, 1000)
    assert held_rows(at_budget(own, 0.2), 1000, 30) == (200, 200)
    assert held_rows(at_budget(config, OwnAnd(5)), 1000, 30) == (35, 35)
    assert held_rows(at_budget(own, 1), 1000, 30) == (1000, 1000)
    assert held_planes(own, 1000, 30, 7) == 7
    assert held_planes(own, 1000, 995, 7) == held_planes(at_budget(own, 1), 1000, 30, 7) == 0
    full = make_config({"retrieval": {"method": "full"}})
    assert held_rows(full, 1000, 30) == (1000, 1000)
    assert at_budget(full, OwnAnd(0.01)).retrieval.method == Config().retrieval.method
    assert at_budget(full, 0.1).retrieval.method == Config().retrieval.method
    capped = make_config({"selection": {"max_rows": 7}})
    assert held_rows(at_budget(capped, 0.5), 1000, 3) == (7, 7)
    assert held_rows(at_budget(capped, 1), 1000, 3) == (1000, 1000)


def test_the_largest_number() -> None:
    for most in (1, 2, 7, 64):
        for limit in range(most + 1):
            assert largest(lambda value, limit=limit: value <= limit, most) == limit  # type: ignore[misc]


def search(texts: Path, **groups: object) -> Search:
    config, data = small_config(texts, **groups), small_data(texts)
    return Search(config, busiest_client(config, build_model(config), data), data.sizes)


def next_cost(made: Search, name: str, found: Found) -> ClientCost:
    """With the next larger value."""
    config, size = made.config, made.sizes["output"]
    value = int(found.value)
    if name == "budget":
        rows = round(found.value * size) + 1
        return made.cost(at_budget(config, rows / size))
    if name == "rows":
        return made.cost(*with_size(config, value + 1))
    return made.cost(with_model(config, name, value + size_step(config, name)))


@pytest.mark.parametrize("kind", ["memory", "traffic"])
@pytest.mark.parametrize("name", ["budget", "rows", "embedding", "ffn", "blocks"])
def test_found_models_fit_and_the_next_larger_ones_do_not(name: str, kind: str, texts: Path) -> None:
    # Many planes of so short rows would cost more than all rows.
    model = {"embedding": 8, "attention": 8, "heads": 2, "ffn": 16, "blocks": 1}
    made = search(texts, model=model, selection={"planes": 2})
    small, everything = made.cost(made.config), made.cost(at_budget(made.config, 1))
    at = getattr(small, kind)
    budget = (at + getattr(everything, kind)) // 2
    more = 40_000 if kind == "memory" else 2 * at
    limits = Limits(**{kind: budget if name == "budget" else at + more})
    found = getattr(made, name)(limits) if hasattr(made, name) else made.model(name, limits)
    assert found is not None
    assert not found.unlimited
    assert limits.hold(found.cost)
    assert not limits.hold(next_cost(made, name, found))
    if name != "budget":
        assert getattr(found.cost, kind) > at


def test_limits_hold_together(texts: Path) -> None:
    made = search(texts)
    cost = made.cost(made.config)
    assert Limits(cost.memory, cost.traffic).hold(cost)
    assert not Limits(cost.memory - 1, cost.traffic).hold(cost)
    assert not Limits(cost.memory, cost.traffic - 1).hold(cost)
    assert getattr(made.budget(Limits()), "value", None) == 1
    assert made.model("embedding", Limits(memory=100)) is None


def test_a_vocabulary_that_costs_nothing_has_no_limit(texts: Path) -> None:
    made = search(texts, selection={"max_rows": 20, "budget": 0.5})
    found = made.rows(Limits(memory=10**8))
    assert found is not None
    assert found.unlimited
    assert found.cost.rows == max(20, len(found.cost.workload.own))


def test_widths_fit_heads_and_parts_of_codes() -> None:
    assert size_step(Config(), "embedding") == 8
    parts = make_config({"retrieval": {"method": "product-codes", "subspaces": 12}})
    assert size_step(parts, "embedding") == 24
    assert size_step(parts, "ffn") == 1


def test_the_bill(texts: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config, data = small_config(texts), small_data(texts)
    asked: list[str] = []

    def measured(config: Config, model: Any, data: Any, parameters: Any, client: Client) -> dict[str, int]:
        asked.append(client.name)
        return {"memory_peak": 30 * 10**6, "memory_baseline": 20 * 10**6}

    monkeypatch.setattr(run, "measure_device_memory", measured)
    told: list[str] = []
    result = bill(config, data, [0.6, 0.3], Limits(memory=4 * 10**6), measure=True, tell=told.append)
    assert json.loads(json.dumps(result)) == result
    assert result["left_out"]["energy"] == "not measured"
    assert result["rows"] == data.size
    assert [entry["budget"] for entry in result["budgets"]] == [0.6, 0.3]
    first = result["budgets"][0]
    assert first["bytes"] == result["clients"]["busiest"]["bytes"]
    assert first["memory_measured"] == 10**7
    assert first["predicted_to_measured"] == first["memory_predicted"] / 10**7
    full = bill(config, data, [1.0], Limits(), measure=False)
    assert "largest" not in full
    (entry,) = full["budgets"]
    assert set(entry["ratio_to_full"].values()) == {1.0}
    assert first["ratio_to_full"]["bytes_down"] == first["bytes_down"] / entry["bytes_down"]
    assert first["ratio_to_full"]["memory_predicted"] == first["memory_predicted"] / entry["memory_predicted"]
    same = result["same_memory"]
    assert same["full"]["memory_predicted"] == entry["memory_predicted"]
    for found in same["found"].values():
        assert found["memory_predicted"] <= entry["memory_predicted"]
    assert set(result["largest"]["found"]) == {"selection.budget", "data.vocabulary", "model.embedding"}
    # Both clients, then all rows and one other budget; that of the configuration was measured before.
    assert len(asked) == 4
    assert told[-1] == "budget 0.3"


def test_own_rows_and_others_side_by_side(texts: Path) -> None:
    """Fractions are plain ones; the configuration's own rows and others stand beside them."""
    config, data = small_config(texts, selection={"extra": 2}), small_data(texts)
    result = bill(config, data, [1.0, 0.3, OwnAnd(0.05)], Limits(memory=4 * 10**6), measure=False)
    assert json.loads(json.dumps(result)) == result
    entries = {entry["budget"]: entry for entry in result["budgets"]}
    assert list(entries) == [1.0, 0.3, "own+5%", "own+2"]
    own = entries["own+2"]["own_rows"]
    assert [entry["rows"] for entry in entries.values()] == [44, max(13, own), own + 2, own + 2]
    assert entries["own+2"]["bytes"] == result["clients"]["busiest"]["bytes"]
    assert entries["own+2"]["planes"] > 0
    assert entries[1.0]["planes"] == 0
    # The largest budget is a fraction of the rows; the largest model has own rows and two others.
    assert result["largest"]["found"]["selection.budget"]["value"] == 1
    words = result["largest"]["found"]["data.vocabulary"]
    assert words["rows"] == words["own_rows"] + 2
    assert words["unlimited"]


def test_the_full_method_has_no_memory_to_give(texts: Path) -> None:
    config = small_config(texts, retrieval={"method": "full"})
    result = bill(config, small_data(texts), [1.0, 0.5], Limits(), measure=False)
    assert result["same_memory"] is None
    assert [entry["method"] for entry in result["budgets"]] == ["full", Config().retrieval.method]
    assert "keys" in result["budgets"][1]["bytes"]


def test_nothing_fits(texts: Path) -> None:
    with pytest.raises(HashfedError, match=r"^--max-memory = 1000, --max-bytes = 10: nothing fits, "):
        bill(small_config(texts), small_data(texts), [1.0], Limits(1000, 10), measure=False)


def test_memory_of_an_80_000_word_model_shrinks_with_the_budget() -> None:
    config = make_config({"data": {"vocabulary": 80_000}})
    data = synthetic_text(80_000, 1, 64, 20)
    made = Search(config, data.train[0], data.sizes)
    budgets: list[Budget] = [1, 0.3, 0.1, 0.05, OwnAnd(0.01)]
    memory = [made.cost(at_budget(config, budget)).memory / 1e6 for budget in budgets]
    # Measured on Linux with torch 2.13: 188.0, 74.8, 41.8, 33.6 and, with 32 planes, 29.0 MB.
    assert memory == pytest.approx([188, 75, 42, 34, 29], rel=0.05)
