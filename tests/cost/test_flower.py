from pathlib import Path

import pytest
from flwr.app import UserConfig

from hashfed.cost.run import Bill
from hashfed.engines.flower import records
from hashfed.engines.flower.client_app import app
from hashfed.engines.flower.node import NodeState
from hashfed.engines.flower.rounds import FlowerRounds
from hashfed.tasks.federated_data import Client
from hashfed.tasks.sequences import Sequences
from loopback import LoopbackGrid
from small import small_config, small_data

ROUNDS = 3
FEEDBACK = {"rows": "float16", "updates": "int8", "error_feedback": True}


@pytest.mark.parametrize("method", ["query-centroids", "query-codes", "frequency"])
@pytest.mark.parametrize("budget", [1.0, 0.3, 0.1])
@pytest.mark.parametrize("compression", [{}, FEEDBACK], ids=["", "compressed"])
def test_bytes_over_flower_are_those_of_the_serialized_messages(
    texts: Path, tmp_path: Path, method: str, budget: float, compression: dict[str, object]
) -> None:
    """A phone with its own texts, three rounds; all rows, 30% and 10%."""
    check_exchanges(texts, tmp_path, method, {"budget": budget}, compression)


@pytest.mark.parametrize("compression", [{}, FEEDBACK], ids=["", "compressed"])
@pytest.mark.parametrize(
    ("method", "selection"),
    [
        ("query-centroids", {"extra": 2, "planes": 4}),
        ("query-codes", {"extra": 0, "planes": 3}),
        ("frequency", {"extra": 3, "points": "sketch"}),
        ("simhash-union", {"extra": 3, "points": "sketch", "planes": 2}),
        ("query-centroids", {"extra": 3, "correction": "tail"}),
    ],
)
def test_bytes_of_planes_over_flower(
    texts: Path,
    tmp_path: Path,
    method: str,
    selection: dict[str, object],
    compression: dict[str, object],
) -> None:
    check_exchanges(texts, tmp_path, method, selection, compression)


def check_exchanges(
    texts: Path,
    tmp_path: Path,
    method: str,
    selection: dict[str, object],
    compression: dict[str, object],
) -> None:
    """What three rounds of a phone serialize is what is said beforehand."""
    (tmp_path / "texts.txt").write_text("w1 w2 w3 w4\nw7 w8 w9\nw3 w2\n")
    data = small_data(texts)
    groups = {
        "retrieval": {"method": method},
        "selection": selection,
        "client": {"examples": 100},
        "flower": {"clients": 1},
        "compression": compression,
    }
    config = small_config(texts, cohort=1, rounds=ROUNDS, **groups)
    grid = LoopbackGrid(app, [{"texts": str(tmp_path), "client": "phone"}])
    with FlowerRounds(grid, config, data) as rounds:
        found = [rounds.run_round() for _ in range(ROUNDS)]
    assert all(record.failed == {} for record in found)

    client = Client("phone", sentences_of(grid))
    made = Bill(config, data, measure=False)
    cost = made.over_flower(config, client)
    sent = {message.metadata.message_type: records.size(message.content) for _, message in grid.sent}
    answered = {message.metadata.message_type: records.size(message.content) for _, message in grid.answered}
    # The first declaration has an exchange of its own; the last training carries no other.
    first = [m for _, m in grid.sent if m.metadata.message_type == "query.declare"]
    assert len(first) == (0 if selection.get("budget") == 1 else 1)
    for exchange, kind in (("declare", "query.declare"), ("hash", "query.hash"), ("train", "train")):
        if kind in sent:
            assert cost[exchange] == {"down": sent[kind], "up": answered[kind]}, exchange
        else:
            assert exchange not in cost
    last = found[-1]
    steps = [cost[exchange] for exchange in ("hash", "train") if exchange in cost]
    assert last.wire_bytes == {way: sum(step[way] for step in steps) for way in ("down", "up")}
    # And the sizes without Flower are the simulator's, to the byte.
    assert last.reports[0].bytes == made.cost(config, client).bytes


@pytest.mark.parametrize("delivery", ["broadcast", "pre-generated"])
@pytest.mark.parametrize("budget", [1.0, 0.3, 0.1])
@pytest.mark.parametrize("feedback", [False, True])
def test_bytes_of_clients_that_select_by_themselves(
    texts: Path, tmp_path: Path, delivery: str, budget: float, feedback: bool
) -> None:
    (tmp_path / "texts").mkdir()
    (tmp_path / "texts" / "a.txt").write_text("w1 w2 w3 w4\nw7 w8 w9\nw3 w2\n")
    data = small_data(texts)
    groups = {
        "retrieval": {"method": "simhash-collisions"},
        "selection": {"budget": budget, "delivery": delivery},
        "client": {"examples": 100},
        "flower": {"clients": 1, "slices": str(tmp_path / "slices")},
        "compression": {"updates": "int8", "error_feedback": True} if feedback else {},
    }
    config = small_config(texts, cohort=1, rounds=2, **groups)
    grid = LoopbackGrid(app, [{"texts": str(tmp_path / "texts"), "client": "phone"}])
    with FlowerRounds(grid, config, data) as rounds:
        first = rounds.run_round()
        second = rounds.run_round()
    made = Bill(config, data, measure=False)
    client = Client("phone", sentences_of(grid))
    # Slices are those of the first round's index; a fresh model has equal arrays, which Flower sends once.
    assert first.reports[0].bytes == made.cost(config, client).bytes
    assert made.over_flower(config, client) == {"train": second.wire_bytes}


def sentences_of(grid: LoopbackGrid, name: str = "phone") -> Sequences:
    context = grid.contexts[1]
    digest = str(context.state.config_records["setup"]["digest"])
    found = NodeState(context, digest).client(name).examples
    assert isinstance(found, Sequences)
    return found


@pytest.mark.parametrize("rows", ["all", "common"])
def test_bytes_of_sums_under_masks(texts: Path, tmp_path: Path, rows: str) -> None:
    """Each of four exchanges, which ask four phones; what rides along is counted by itself."""
    nodes: list[UserConfig] = []
    for name in ("ann", "bob", "cem", "dan"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "texts.txt").write_text("w1 w2 w3 w4\nw7 w8 w9\nw3 w2\n")
        nodes.append({"texts": str(tmp_path / name), "client": name})
    data = small_data(texts)
    groups = {
        "retrieval": {"method": "frequency"},
        "selection": {"delivery": "secure"},
        "secure": {"rows": rows},
        "client": {"examples": 100},
        "flower": {"clients": 4},
    }
    config = small_config(texts, cohort=4, rounds=1, **groups)
    grid = LoopbackGrid(app, nodes)
    with FlowerRounds(grid, config, data) as engine:
        record = engine.run_round()
    assert record.failed == {}
    client = Client("ann", sentences_of(grid, "ann"))
    made = Bill(config, data, measure=False)
    found: dict[str, dict[str, set[int]]] = {}
    for way, messages in (("down", grid.sent), ("up", grid.answered)):
        for _, message in messages:
            kind = message.metadata.message_type.removeprefix("query.")
            found.setdefault(kind, {}).setdefault(way, set()).add(records.size(message.content))
    found.pop("join")
    cost = made.over_flower(config, client)
    assert {step: {way: {size} for way, size in sizes.items()} for step, sizes in cost.items()} == found
    assert record.reports[0].bytes == made.cost(config, client).bytes
