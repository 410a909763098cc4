"""Labels over Flower: nodes that share a data set, and nodes with a file of their own."""

from pathlib import Path

import pytest
from flwr.app import UserConfig

from hashfed.engines.flower.client_app import app
from hashfed.engines.flower.rounds import FlowerRounds
from hashfed.engines.local.simulator import Simulation
from hashfed.runs import load_data
from loopback import LoopbackGrid, partitions
from small_labels import labels_config, write_data, write_examples


@pytest.mark.parametrize(("values", "loss"), [("tf-idf", "softmax"), ("raw", "binary")])
def test_rounds_and_evaluation_are_those_of_the_simulator(values: str, loss: str, tmp_path: Path) -> None:
    write_data(tmp_path)
    config = labels_config(tmp_path, data={"values": values, "loss": loss})
    data = load_data(config)
    with Simulation(config, data) as simulation:
        due, evaluation = simulation.run_round(), simulation.evaluate(everything=True)
    grid = LoopbackGrid(app, partitions(tmp_path / "train.txt.gz"))
    with FlowerRounds(grid, config, data) as rounds:
        found = rounds.run_round()
        assert rounds.evaluate() == pytest.approx(evaluation, rel=1e-12)
    assert (found.loss, found.failed) == (due.loss, {})
    assert [report.client for report in found.reports] == [report.client for report in due.reports]


def test_each_node_s_file_is_a_client(tmp_path: Path) -> None:
    write_data(tmp_path)
    nodes: list[UserConfig] = []
    for number in range(3):
        path = write_examples(tmp_path / f"{number}.txt", 5, 10 + number)
        nodes.append({"texts": str(path), "client": f"device {number}"})
    (tmp_path / "wrong.txt").write_text("1 24 16\n0 1:one\n")
    nodes.append({"texts": str(tmp_path / "wrong.txt"), "client": "wrong"})
    config = labels_config(tmp_path, flower={"clients": 3, "evaluation": "server"})
    said: list[str] = []
    grid = LoopbackGrid(app, nodes)
    with FlowerRounds(grid, config, load_data(config), said.append) as rounds:
        record = rounds.run_round()
    assert [(report.client, report.predictions) for report in record.reports] == [
        (f"device {number}", 5) for number in range(3)
    ]
    (line,) = [line for line in said if "could not join" in line]
    assert "wrong.txt, line 2: feature '1:one': must be a feature and its value" in line
