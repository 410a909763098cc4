"""The example of a client with its own data."""

import importlib.util
import sqlite3
from pathlib import Path

import pytest
from flwr.app import UserConfig
from flwr.clientapp import ClientApp

from hashfed.engines.flower.node import read_clients
from hashfed.engines.flower.rounds import FlowerRounds
from loopback import LoopbackGrid
from small import small_config, small_data

EXAMPLE = Path(__file__).parents[3] / "examples" / "own_data" / "own_data.py"


def example_app() -> ClientApp:
    spec = importlib.util.spec_from_file_location("own_data", EXAMPLE)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    app = module.app
    assert isinstance(app, ClientApp)
    return app


def test_devices_train_on_their_databases(texts: Path, tmp_path: Path) -> None:
    nodes: list[UserConfig] = []
    for number in range(3):
        path = tmp_path / f"{number}.db"
        with sqlite3.connect(path) as database:
            database.execute("CREATE TABLE messages (text TEXT, sent BOOLEAN)")
            sent = [(f"w{number} w{number + 1} w{number + 2}", True), ("w30 received", False)]
            database.executemany("INSERT INTO messages VALUES (?, ?)", sent)
        nodes.append({"messages": str(path), "client": f"device {number}"})
    nodes.append({"messages": str(tmp_path / "none.db"), "client": "without"})
    config = small_config(texts, flower={"clients": 3}, cohort=3)
    said: list[str] = []
    grid = LoopbackGrid(example_app(), nodes)
    with FlowerRounds(grid, config, small_data(texts), said.append) as rounds:
        record = rounds.run_round()
    # Three words and the end of the sentence.
    assert [(report.client, report.predictions) for report in record.reports] == [
        (f"device {number}", 4) for number in range(3)
    ]
    (line,) = [line for line in said if "could not join" in line]
    assert "unable to open database file" in line


def test_home_folders_in_the_settings_of_a_node(
    texts: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "mine.jsonl").write_bytes(texts.read_bytes())
    config = small_config(texts)
    named = read_clients({"texts": "~/mine.jsonl"}, config)
    assert named == read_clients({"texts": str(texts)}, config)
    share: UserConfig = {"partition-id": 0, "num-partitions": 3}
    assert read_clients({**share, "source": "~/mine.jsonl"}, config) == read_clients(
        {**share, "source": str(texts)}, config
    )
