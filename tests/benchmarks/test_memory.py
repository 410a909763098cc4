import json
from pathlib import Path
from typing import Any

import pytest

from benchmarks.memory import clients, server
from benchmarks.memory.__main__ import main
from hashfed.cost.budgets import OwnAnd


def test_ratios_of_clients(monkeypatch: pytest.MonkeyPatch) -> None:
    def measured(config: Any, *_: Any) -> dict[str, int]:
        share = config.selection.budget if config.selection.extra is None else config.selection.extra
        return {"memory_baseline": 100, "memory_peak": 100 + round(50 * share)}

    monkeypatch.setattr(clients, "measure_device_memory", measured)
    told: list[str] = []
    found = clients.client_memory(60, [0.5, OwnAnd(0.1)], told.append)
    assert found["rows"] == 64
    assert found["budgets"]["1"]["memory_to_full"] == 1.0
    half = {
        "process": 125,
        "baseline": 100,
        "memory": 25,
        "process_to_full": 125 / 150,
        "memory_to_full": 0.5,
    }
    assert found["budgets"]["0.5"] == half
    assert found["budgets"]["own+10%"]["memory_to_full"] == 0.1
    assert told == ["60 words, budget 1", "60 words, budget 0.5", "60 words, budget own+10%"]


def test_ratios_of_the_server(monkeypatch: pytest.MonkeyPatch) -> None:
    tasks: list[dict[str, int]] = []

    def measured(module: str, argument: str) -> dict[str, int]:
        tasks.append(json.loads(argument))
        assert module == server.__name__
        return {"baseline": 100, "ready": 150, "process": 200 + tasks[-1]["cohort"]}

    monkeypatch.setattr(server, "run_fresh", measured)
    found = server.server_memory([300, 100], [1, 2], 3, lambda what: None)
    assert [(task["cohort"], task["workers"]) for task in tasks] == [(100, 1), (300, 1), (100, 2), (300, 2)]
    assert all(task["clients"] == 300 and task["rounds"] == 3 for task in tasks)
    first, second = found["processes"][:2]
    assert (first["memory"], first["memory_to_least"], first["process_to_least"]) == (200, 1.0, 1.0)
    assert (second["memory"], second["memory_to_least"]) == (400, 2.0)
    assert second["process_to_least"] == 500 / 300


def test_a_server_is_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "WORDS", 60)
    monkeypatch.setattr(server, "keep_memory", lambda: None)  # for this process must go on as it is
    found = server._server_process(cohort=2, workers=1, clients=3, rounds=1)
    assert 10**7 < found["baseline"] <= found["ready"] <= found["process"]


def test_the_command_writes_json(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def measured(config: Any, *_: Any) -> dict[str, int]:
        return {"memory_baseline": 10**7, "memory_peak": 2 * 10**7}

    monkeypatch.setattr(clients, "measure_device_memory", measured)
    fresh = {"baseline": 10**7, "ready": 2 * 10**7, "process": 3 * 10**7}
    monkeypatch.setattr(server, "run_fresh", lambda module, argument: fresh)
    file = tmp_path / "memory.json"
    options = ["--vocabularies", "60", "--budgets", "0.5", "--cohorts", "2", "--workers", "1"]
    assert main([*options, "--output", str(file)]) == 0
    result = json.loads(file.read_text())
    assert result["clients"][0]["rows"] == 64
    assert result["server"]["processes"][0]["cohort"] == 2
    out = capsys.readouterr().out
    assert "client with 64 rows" in out
    assert "server with 20,000 words, 2 clients" in out
    assert main(["--vocabularies", "--cohorts", "--output", str(file)]) == 0
    assert json.loads(file.read_text()) == {"clients": [], "server": None}


@pytest.mark.parametrize(
    ("option", "value", "message"),
    [
        ("--budgets", "0", "--budgets = 0: must be > 0 and ≤ 1"),
        ("--cohorts", "0", "--cohorts = 0: must be at least 1"),
        ("--rounds", "0", "--rounds = 0: must be at least 1"),
        ("--workers", "-1", "--workers = -1: must be at least 1"),
    ],
)
def test_bad_options(option: str, value: str, message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([option, value]) == 2
    assert capsys.readouterr().err == f"hashfed: {message}\n"
