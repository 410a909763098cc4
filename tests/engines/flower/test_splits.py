"""Nodes whose source states who trains, and settings that bound what is read."""

import json
from pathlib import Path

import pytest
from flwr.app import UserConfig

from hashfed.data import group_of, read_texts
from hashfed.engines.flower.client_app import app
from hashfed.engines.flower.node import read_clients
from hashfed.engines.flower.rounds import FlowerRounds
from hashfed.engines.local.simulator import Simulation
from hashfed.errors import HashfedError
from hashfed.runs import load_data
from loopback import LoopbackGrid, partitions
from small import small_config
from tff_files import write_sqlite

GROUPS = {"train": "train", "validation": "heldout", "test": "test"}


@pytest.fixture
def database(texts: Path, tmp_path: Path) -> Path:
    """The small texts as TFF has them; client c1 has later texts in the test split."""
    splits: dict[str, dict[str, list[str]]] = {
        "train": {},
        "heldout": {},
        "test": {"c1": ["w1 w2 w3", "w4 w5"]},
    }
    for item in read_texts(str(texts)):
        splits[GROUPS[group_of(item.client)]][item.client] = item.texts
    assert "c1" in splits["train"]
    return write_sqlite(tmp_path / "so.sqlite", splits)


@pytest.mark.parametrize("held_out", ["test", "validation"])
@pytest.mark.parametrize("bounds", [{}, {"clients": 7, "held_out_clients": 2, "sentences_per_client": 3}])
def test_rounds_and_evaluation_are_those_of_the_simulator(
    held_out: str, bounds: dict[str, int], database: Path
) -> None:
    groups = {
        "data": {"source": str(database), "tokenizer": "spaces", "vocabulary": 30, **bounds},
        "evaluation": {"clients": held_out},
    }
    data = load_data(small_config(database, **groups))
    flower = {"clients": len(data.train), "evaluation": "clients"}
    config = small_config(database, flower=flower, **groups)
    assert len(data.train) == bounds.get("clients", len(data.train))
    with Simulation(config, data) as simulation:
        due, evaluation = simulation.run_round(), simulation.evaluate(everything=True)
    grid = LoopbackGrid(app, partitions(database))
    with FlowerRounds(grid, config, data) as rounds:
        found = rounds.run_round()
        assert rounds.evaluate() == pytest.approx(evaluation, rel=1e-12)
    assert (found.loss, found.failed) == (due.loss, {})
    assert [report.client for report in found.reports] == [report.client for report in due.reports]
    held = {name for context in grid.contexts.values() for name in context.state["setup"]["held_out"]}  # type: ignore[union-attr]
    assert held - {""} == {client.name for client in data.held_out}


def test_a_node_s_own_texts_keep_to_the_splits_that_they_state(texts: Path, tmp_path: Path) -> None:
    own = tmp_path / "own.jsonl"
    lines = [("ann", "w1 w2", "train"), ("ann", "w3 w4", "test"), ("bob", "w2 w3", "validation")]
    own.write_text("".join(json.dumps({"client": c, "texts": [t], "split": s}) + "\n" for c, t, s in lines))
    config = small_config(texts)
    assert [item.key for item in read_clients({"texts": str(own), "client": "me"}, config)] == [
        ("train", "me"),
        ("test", "me"),
        ("validation", "me"),
    ]
    data = load_data(config)
    config = small_config(texts, cohort=1, flower={"clients": 1, "evaluation": "clients"})
    grid = LoopbackGrid(app, [{"texts": str(own)}])
    with FlowerRounds(grid, config, data) as rounds:
        assert [report.client for report in rounds.run_round().reports] == ["ann"]
    assert grid.contexts[1].state["setup"]["held_out"] == ["test/ann"]


def test_a_node_reads_no_more_of_its_own_texts_than_is_kept(tmp_path: Path) -> None:
    path = write_sqlite(tmp_path / "own.sqlite", {"N/A": {"ann": ["w1 w2"] * 9, "bob": ["w3"] * 9}})
    config = small_config(path, data={"clients": 1, "sentences_per_client": 2})
    found = read_clients({"texts": str(path)}, config)
    assert [(item.client, len(item.texts)) for item in found] == [("ann", 2), ("bob", 2)]  # all its clients


def test_two_clients_that_would_have_one_name_are_refused(texts: Path, tmp_path: Path) -> None:
    own = tmp_path / "own.jsonl"
    lines = [("test/ann", "w1 w2", "train"), ("ann", "w3 w4", "test")]
    own.write_text("".join(json.dumps({"client": c, "texts": [t], "split": s}) + "\n" for c, t, s in lines))
    node: UserConfig = {"texts": str(own)}
    said = list[str]()
    config = small_config(texts, cohort=1, flower={"clients": 1, "patience": 0.01})
    with (
        FlowerRounds(LoopbackGrid(app, [node]), config, load_data(config), said.append) as rounds,
        pytest.raises(HashfedError),
    ):
        rounds.run_round()
    assert any("two clients would have the name 'test/ann'; rename one" in line for line in said)
