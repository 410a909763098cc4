"""What a client costs that adds its part to a cohort's sum, which is all that the server learns."""

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hashfed import RunFolder, train
from hashfed.cli.main import main
from hashfed.config import Config, make_config
from hashfed.cost.case import Case
from hashfed.cost.deliveries import compare_deliveries, learns
from hashfed.cost.keys import Hashing, typical_hashing
from hashfed.cost.memory import LIBRARIES, predict_memory
from hashfed.cost.run import Bill, bill
from hashfed.cost.search import Limits, Search
from hashfed.cost.sum_memory import PLANES_LIBRARIES
from hashfed.cost.variants import at_budget, held_rows
from hashfed.engines.budget import build_model
from hashfed.engines.client_round import ClientRound
from hashfed.engines.common_plan import fresh_known
from hashfed.engines.flops import round_flops, server_flops
from hashfed.engines.server_round import ServerRound
from hashfed.engines.single_thread import single_thread
from hashfed.federated.protocols import all_steps
from hashfed.randomness import stream
from hashfed.retrieval import NoEncoder, Selection, build_index
from hashfed.runs import load_data
from hashfed.tasks.federated_data import Client, FederatedData
from hashfed.tasks.registry import make_task
from said_sizes import Lookup, SaidSizes, workload
from small import small_config, small_data, write_texts
from small_labels import labels_config, write_data

SELECTION = {"delivery": "secure", "budget": 0.3, "planes": 4}
FREQUENCY = {"method": "frequency"}
OPEN = {"masks": False}
SETTINGS: dict[str, dict[str, Any]] = {
    "all": {},
    "common": {"secure": {"rows": "common"}},
    "random": {"retrieval": {"method": "random"}},
    "full": {"retrieval": {"method": "full"}},
    "no planes": {"selection": SELECTION | {"planes": 0, "sampling": "top", "tail": 0}},
    "uncorrected": {"selection": SELECTION | {"correction": "none"}},
    "the best": {"selection": SELECTION | {"sampling": "top", "tail": 0.0}},
    "own and 3": {"selection": {"delivery": "secure", "extra": 3, "planes": 4}},
    "clipped": {"server": {"clip": 0.5}, "secure": {"rows": "common"}},
    "3 clients": {"cohort": 3},
    "16 clients": {"cohort": 16, "secure": {"bits": 20}},
    "input table": {
        "model": {"embedding": 8, "attention": 8, "heads": 2, "ffn": 16, "blocks": 1, "tie_embeddings": False}
    },
    "open": {"secure": OPEN},
    "open, common": {"secure": OPEN | {"rows": "common", "bits": 12}},
    "open, 16 clients": {"secure": OPEN, "cohort": 16},
    "open, clipped": {"secure": OPEN, "server": {"clip": 0.5}},
    "open, full": {"secure": OPEN, "retrieval": {"method": "full"}},
}


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    with single_thread():
        yield


def summing(texts: Path, **groups: Any) -> Config:
    return small_config(texts, **{"retrieval": FREQUENCY, "selection": SELECTION, "rounds": 1} | groups)


def check_bytes(config: Config, data: FederatedData[Any], folder: Path) -> None:
    """The bill of two clients against the bytes that a run notes of a round."""
    train(config.model_copy(update={"output": str(folder)}))
    (line,) = RunFolder(folder).lines("metrics.jsonl")
    made = Bill(config, data, measure=False)
    for client in made.clients.values():
        cost = made.cost(config, client)
        assert {kind: size * line["clients"] for kind, size in cost.bytes.items()} == line["bytes"]
        assert cost.traffic == cost.bytes_down + cost.bytes_up == sum(cost.bytes.values())
    masked = {"public-keys", "roster-part", "key-shares", "common", "inbox", "masked-vector", "survivors"}
    expected = masked | {"unmasking"} if config.secure.masks else {"common", "contribution"}
    assert set(line["bytes"]) == expected


@pytest.mark.parametrize("name", SETTINGS)
def test_bytes_are_those_of_a_run(name: str, texts: Path, tmp_path: Path) -> None:
    check_bytes(summing(texts, **SETTINGS[name]), small_data(texts), tmp_path / "run")


def test_bytes_of_forty_clients_are_those_of_a_run(tmp_path: Path) -> None:
    """Not everybody neighbours everybody then."""
    texts = write_texts(tmp_path / "more.jsonl", clients=60)
    config = summing(texts, cohort=40)
    check_bytes(config, small_data(texts), tmp_path / "run")
    made = Bill(config, small_data(texts), measure=False)
    client = made.clients["busiest"]
    few = made.cost(config.model_copy(update={"cohort": 3}), client).bytes
    some, many = (made.cost(config.model_copy(update={"cohort": n}), client).bytes for n in (16, 40))
    assert few["masked-vector"] < some["masked-vector"] < many["masked-vector"]
    assert few["inbox"] < some["inbox"] < many["inbox"]
    assert few["common"] == some["common"] == many["common"]


@pytest.mark.parametrize("masks", [True, False])
def test_bytes_of_labels_are_those_of_a_run(masks: bool, tmp_path: Path) -> None:
    """A table of its own for what is read: every row of it has a place in the sum."""
    groups = {"selection": {"delivery": "secure", "budget": 0.4}, "secure": {} if masks else OPEN}
    config = labels_config(
        write_data(tmp_path), retrieval=FREQUENCY, flower={"evaluation": "server"}, rounds=1, **groups
    )
    check_bytes(config, load_data(config), tmp_path / "run")


def played(config: Config, data: FederatedData[Any], client: Client) -> ClientRound:
    """A client that has made its part of the first sum."""
    model = build_model(config)
    parameters = model.init(data.sizes, stream(config.seed, "init"))
    index = build_index(parameters.rows, config.retrieval, data.label_counts, config.seed)
    here = ClientRound(config, model, client, 1, data.sizes)
    known = fresh_known(config, here.shape, parameters.rows)
    there = ServerRound.of(config, parameters, index, 1, data.label_counts, known, [client.name])
    here.contribute(there.common())
    return here


@pytest.mark.parametrize(
    "name",
    ["all", "common", "random", "full", "no planes", "the best", "own and 3", "clipped", "input table"],
)
@pytest.mark.parametrize("who", ["busiest", "median"])
def test_costs_are_those_of_a_contribution(name: str, who: str, texts: Path) -> None:
    """Exactly: of a model at hand it is known which rows all clients hold."""
    config, data = summing(texts, **SETTINGS[name]), small_data(texts)
    made = Bill(config, data, measure=False)
    client = made.clients[who]
    cost, report = made.cost(config, client), played(config, data, client).report
    assert (cost.rows, cost.parameters) == (report.rows, report.parameters)
    assert cost.rows_held == cost.rows
    assert sum(cost.flops.values()) == report.flops
    assert (cost.planes > 0) == (report.bounded is not None) == (cost.flops["points"] > 0)
    assert cost.workload.predictions == report.predictions
    np.testing.assert_array_equal(cost.workload.own, report.own)
    assert cost.flops["hash"] == cost.flops["drop"] == cost.requests == 0
    # Of a model that nobody has made, at most so many.
    thought = Search(config, client, data.sizes).cost(config)
    assert cost.rows <= thought.rows <= held_rows(config, data.size, len(cost.workload.own))[0]
    assert {kind: size for kind, size in thought.bytes.items() if kind != "common"} == {
        kind: size for kind, size in cost.bytes.items() if kind != "common"
    }
    assert cost.bytes["common"] <= thought.bytes["common"]


def test_rows_of_a_cohort_and_of_a_client(texts: Path) -> None:
    secure = make_config({"retrieval": FREQUENCY, "selection": SELECTION | {"budget": 0.1}})
    assert held_rows(secure, 1000, 30) == (130, 130)
    assert held_rows(secure, 1000, 950) == (1000, 1000)
    extra = make_config({"retrieval": FREQUENCY, "selection": {"delivery": "secure", "extra": 50}})
    assert held_rows(extra, 1000, 30) == (80, 80)
    sizes = SaidSizes(build_model(secure), make_task(secure.data), {})
    drawn = Selection(np.array([3, 5, 9, 20]), np.array([0, 0, 0.5, 0.5], np.float32))
    case = Case(secure, sizes, 1000, workload(own=6), Hashing(NoEncoder(), {}), common=drawn)
    assert (case.own, case.received, case.trained, case.drawn) == (6, 8, 8, 2)
    assert (case.planes, replace(case, common=None).drawn) == (4, 100)


def test_a_method_that_sends_all_rows_gives_way_to_one_of_the_same_delivery(texts: Path) -> None:
    """Else a smaller budget would be of settings that nobody can run."""
    config = summing(texts, retrieval={"method": "full"})
    fewer = at_budget(config, 0.3)
    assert fewer.retrieval.method == "frequency"
    assert Config.model_validate(fewer.model_dump()) == fewer
    result = bill(config, small_data(texts), [1.0, 0.3], Limits(), measure=False)
    assert [entry["method"] for entry in result["budgets"]] == ["full", "frequency"]
    assert [entry["planes"] for entry in result["budgets"]] == [0, 4]


def test_nobody_is_asked_for_queries(texts: Path) -> None:
    """The points of the planes are the cohort's: an index that knows no queries is none the worse."""
    for method in ("frequency", "random", "full"):
        assert typical_hashing(summing(texts, retrieval={"method": method}), 5, 10) == Hashing(
            NoEncoder(), {}
        )


def test_work_by_hand() -> None:
    model = build_model(Config())
    body, p, d = model.body_flops(100, 20, 5), 100, model.dimension
    without = round_flops(model, None, 3, p, (20, 5), 50, 50, planes=6)
    found = round_flops(model, None, 3, p, (20, 5), 50, 50, planes=6, points=6)
    # A pass over the data with the model that was sent, and each query's products with six points.
    assert without["points"] == 0
    assert found == without | {"points": body + 2 * p * d * 6}
    alone, cohort = (server_flops(1000, 8, 0, 5, 30, True, clients) for clients in (1, 7))
    assert cohort["retrieve"] == 0
    assert cohort["planes"] == -(-(2 * (1000 + 30) * 2 * 5 * 8 + 2 * 1000 * 5 * 5) // 7)
    assert cohort["tail"] == -(-(alone["tail"] or 0) // 7) == -(-2 * 1000 * 2 * 5 * 8 // 7)


def test_memory_by_hand() -> None:
    tree = {
        "retrieval": FREQUENCY,
        "selection": {"delivery": "secure", "budget": 0.5, "planes": 5},
        "model": {"embedding": 2, "attention": 2, "heads": 1},
        "cohort": 4,
    }
    sent = {"common": 1000}
    body, row, held = 4 * 3, 4 * 2, 20 + 6

    def sums(**groups: Any) -> dict[str, int]:
        config = make_config(tree | groups)
        case = Case(
            config,
            SaidSizes(Lookup(), make_task(Config().data), {"scale": (3,)}),
            40,
            workload(6),
            Hashing(NoEncoder(), {}),
        )
        return {name: sum(terms.values()) for name, terms in predict_memory(case, sent).items()}

    tail = 5 * row
    model = (row + 8 + 4) * held + 2 * tail + 2 * 4 * 5
    counts = 3 * (9 + 6)  # each of three digits; the last ones of numbers beyond their range, by part
    length = 4 * (3 + 40 * 2 + 5 * 2 + (5 * 2 + 5 + 5) + counts)
    packed = length // 4 * 18 // 8 + 1
    pass_ = 4 * (100 * 190 + 10 * 64 + 5)
    libraries = LIBRARIES + PLANES_LIBRARIES
    training = (
        (body + row * held)
        + body
        + 4 * 8 * held
        + 4 * (100 * 8 + 10 * 2 + 5 + 1000)
        + 6 * row * 8
        + 2 * tail
        + 4 * 5 * 8
    )
    assert length // 4 * 18 % 8 > 0
    expected = {
        "receive": 2 * 1000,
        "train": 1000 + model + training + libraries,
        "lay out": 1000 + model + (body + row * held) + length + 2 * row * 200 + pass_ + libraries,
        "round": 1000 + model + 2 * length + 3 * 8 * length // 4 + libraries,
        "mask": 2 * length + packed + libraries,
        "send": 3 * packed + libraries,
    }
    assert sums() == expected
    unmasked = sums(secure=OPEN)
    assert unmasked == expected | {"mask": expected["mask"] + length}

    fewer = sums(secure={"rows": "common"})
    less = 4 * (40 - 20) * 2
    assert fewer["train"] == expected["train"]
    assert fewer["lay out"] == expected["lay out"] - less
    assert fewer["round"] == expected["round"] - 2 * less - 3 * 8 * less // 4

    plain = sums(selection={"delivery": "secure", "budget": 0.5, "planes": 0})
    assert plain["train"] == 1000 + (row + 8 + 4) * held + training - 2 * tail - 4 * 5 * 8 + LIBRARIES


def side_by_side(config: Config, texts: Path) -> dict[str, dict[str, Any]]:
    made = Bill(config, small_data(texts), measure=False)
    return compare_deliveries(config, lambda changed: made.cost(changed, made.clients["busiest"]))


def test_deliveries_side_by_side(texts: Path) -> None:
    config = summing(texts)
    found = side_by_side(config, texts)
    assert list(found) == ["on-demand", "broadcast", "pre-generated", "secure"]
    assert found["secure"]["learns"] == learns(config) == "sums over the cohort, and who took part"
    assert found["secure"]["planes"] == 4
    assert found["on-demand"]["learns"] == "the rows that its data need"
    # What is said of sums alone does not stand in the way of the others.
    unmasked = side_by_side(summing(texts, secure=OPEN | {"bits": 12}), texts)
    assert unmasked["secure"]["learns"] == "each client's vector"
    assert [unmasked[name] for name in list(found)[:3]] == [found[name] for name in list(found)[:3]]
    # From another delivery it is billed with masks, and all rows.
    other = small_config(
        texts, retrieval=FREQUENCY, selection=SELECTION | {"delivery": "broadcast"}, rounds=1
    )
    assert side_by_side(other, texts) == found


@pytest.mark.parametrize(
    ("groups", "refused"),
    [
        (
            {"retrieval": {"method": "exact"}},
            "selection.delivery = secure: needs retrieval.method full, random, ",
        ),
        ({"server": {"row_average": "holders"}}, "server.row_average = holders: must be cohort with "),
        ({"compression": {"updates": "int8"}}, "compression.updates = int8: must be none with "),
        ({"selection": {"points": "sketch"}}, "selection.points = sketch: must be keys with "),
        ({"selection": {"sampling": "top", "oversample": 2}}, "selection.oversample = 2: must be 1 with "),
        ({"flower": {"evaluation": "clients"}}, "flower.evaluation = clients: must be server with "),
        ({"cohort": 2}, "cohort = 2: must be at least 3 for a sum under masks"),
    ],
)
def test_what_cannot_be_summed_is_refused_in_the_table(
    groups: dict[str, Any], refused: str, texts: Path
) -> None:
    config = small_config(texts, **{"retrieval": FREQUENCY} | groups)
    found = side_by_side(config, texts)
    assert found["secure"]["refused"].startswith(refused)
    assert "refused" not in found["on-demand"]


def test_tables(texts: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "small.yaml").write_text(summing(texts).to_yaml())
    command = [
        "cost",
        str(tmp_path / "small.yaml"),
        "--no-measure",
        "--flower",
        "--json",
        str(tmp_path / "cost.json"),
    ]
    assert main([*command, "--max-memory", "4MB", "--budgets", "1", "0.3"]) == 0
    out = capsys.readouterr().out
    busiest = json.loads((tmp_path / "cost.json").read_text())["clients"]["busiest"]
    assert f"{busiest['bytes']['masked-vector']:,}" in out
    assert [line.split(" (")[0] for line in out.splitlines() if line.startswith("Flower, ")] == [
        f"Flower, {step}" for step in ("keys", "shares", "train", "unmask") for _ in ("down", "up")
    ]
    assert "points, GFLOP" in out
    assert (
        "the numbers are the same with on-demand, broadcast, pre-generated; with secure they are others: "
        "all have the same rows and planes, and add rounded changes"
    ) in out
    assert "secure: the server learns sums over the cohort, and who took part" in out
    assert "largest models with memory ≤ 4.00 MB" in out
    assert main([*command[:3], "--selection.correction", "control-variate"]) == 0
    out = capsys.readouterr().out
    assert "busiest client; with secure they are others" in out
    assert main([*command[:3], "--secure.masks", "false"]) == 0
    assert "secure: the server learns each client's vector\n" in capsys.readouterr().out


@pytest.mark.parametrize("secure", [{}, {"rows": "common"}, OPEN], ids=str)
def test_bytes_over_flower_hold_the_messages(secure: dict[str, Any], texts: Path) -> None:
    """Each step has its own, and some hundreds of bytes beside; nobody reports of its work."""
    config = summing(texts, secure=secure)
    made = Bill(config, small_data(texts), measure=False)
    client = made.clients["busiest"]
    found, sizes = made.over_flower(config, client), made.cost(config, client).bytes
    steps = [step for step in all_steps() if step.name in found and step.up.kind.kind in sizes]
    assert [step.name for step in steps] == list(found)
    for step in steps:
        down = sum(sizes[one.kind.kind] for one in step.down)
        assert 0 < found[step.name]["down"] - down < 2500, step.name
        assert -100 < found[step.name]["up"] - sizes[step.up.kind.kind] < 2500, step.name
    assert found == made.over_flower(config, made.clients["median"])


@pytest.mark.usefixtures("probed")
def test_measured_memory(texts: Path) -> None:
    config = summing(texts, secure={"rows": "common"})
    made = Bill(config, small_data(texts), measure=True)
    entry = made.entry(config, made.clients["busiest"], "memory")
    assert 20e6 < entry["memory_baseline"] < entry["memory_peak"] < 2e9
    # What the library of masks takes is no client's: 8 MB, where all else takes 4.
    assert entry["predicted_to_measured"] > 0.5
    assert entry["memory_peak_phase"] in {"train", "lay out", "round"}
