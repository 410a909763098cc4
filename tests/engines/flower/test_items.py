"""The next item over Flower: nodes that share a data set, and nodes with a file of their own."""

from pathlib import Path

import pytest
from flwr.app import UserConfig

from hashfed.engines.flower.client_app import app
from hashfed.engines.flower.rounds import FlowerRounds
from hashfed.engines.local.simulator import Simulation
from hashfed.runs import load_data
from interactions import item_config, write_interactions
from loopback import LoopbackGrid, partitions


def test_rounds_and_evaluation_are_those_of_the_simulator(tmp_path: Path) -> None:
    """With dropout; each node splits its users by itself and evaluates them."""
    source = write_interactions(tmp_path / "items.txt")
    config = item_config(source)
    data = load_data(config)
    with Simulation(config, data) as simulation:
        due, evaluation = simulation.run_round(), simulation.evaluate(everything=True)
    grid = LoopbackGrid(app, partitions(source))
    with FlowerRounds(grid, config, data) as rounds:
        found = rounds.run_round()
        assert rounds.evaluate() == pytest.approx(evaluation, rel=1e-6)
    assert (found.loss, found.failed) == (due.loss, {})
    assert [report.client for report in found.reports] == [report.client for report in due.reports]


def test_each_node_s_file_is_a_user(tmp_path: Path) -> None:
    source = write_interactions(tmp_path / "items.txt")
    nodes: list[UserConfig] = []
    for number in range(4):
        own = tmp_path / f"{number}.txt"
        own.write_text("".join(f"me i{at}\n" for at in range(number, number + 5)))
        nodes.append({"texts": str(own), "client": f"device {number}"})
    (tmp_path / "wrong.txt").write_text("me i1\nme\n")
    nodes.append({"texts": str(tmp_path / "wrong.txt"), "client": "wrong"})
    config = item_config(source)
    said: list[str] = []
    with FlowerRounds(LoopbackGrid(app, nodes), config, load_data(config), said.append) as rounds:
        record = rounds.run_round()
        assert rounds.evaluate()["targets"] == 4
    assert [(report.client, report.predictions) for report in record.reports] == [
        (f"device {number}", 2) for number in range(4)
    ]
    (line,) = [line for line in said if "could not join" in line]
    assert "wrong.txt, line 2: 'me': must be 'user item', not 1 fields" in line
