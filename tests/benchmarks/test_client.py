import io
import json
from pathlib import Path

import pytest

from benchmarks.client import run
from benchmarks.client.__main__ import main
from benchmarks.client.table import print_client_table
from benchmarks.client.workload import Workload
from hashfed.cost.budgets import OwnAnd
from hashfed.errors import HashfedError


def test_hashfed_and_plain_pytorch_have_the_same_loss() -> None:
    assert Workload(300).loss_difference() < 1e-6


def test_every_candidate_is_timed_and_printed() -> None:
    named: list[str] = []
    result = run.bench_client(200, [OwnAnd(0.05), 0.5], 2, named.append)
    assert len(named) == 3 * 8
    assert set(result["candidates"]) == set(named)
    ours = result["candidates"]["hashfed, 0.5"]
    assert 102 <= ours["rows"] < 204
    assert ours["parts"]["hash"] > 0
    assert ours["flop_ratio"] > 0
    full, other = (result["candidates"][f"hashfed, {label}"] for label in ("1", "own+5%"))
    assert full["to_full"] == 1.0
    # Own rows and others come with planes, whose changes the server spreads over all rows.
    assert other["rows"] == other["own_rows"] + 10
    assert full["server_seconds"]["tail"] == 0
    assert other["server_seconds"]["tail"] > 0
    assert other["server_seconds"]["retrieve"] > 0
    assert full["bytes_to_full"] == {"down": 1.0, "up": 1.0}
    assert other["bytes_to_full"]["up"] == other["bytes"]["up"] / full["bytes"]["up"]
    text = io.StringIO()
    print_client_table(result, text)
    assert text.getvalue().count("hashfed, ") == 3
    assert "hashfed, own+5%" in text.getvalue()


def test_different_losses_end_the_measurement(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run, "TOLERANCE", -1.0)
    with pytest.raises(HashfedError, match="losses of hashfed and plain PyTorch differ"):
        run.bench_client(50, [0.5], 1)


def test_the_command_writes_json(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "result.json"
    command = ["--vocabularies", "60", "--budgets", "0.5", "--repeats", "1"]
    assert main([*command, "--output", str(file)]) == 0
    (result,) = json.loads(file.read_text())
    assert result["rows"] == 64
    assert "64 rows" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("option", "value", "message"),
    [
        ("--budgets", "0", "--budgets = 0: must be > 0 and ≤ 1"),
        ("--repeats", "0", "--repeats = 0: must be at least 1"),
        ("--vocabularies", "0", "--vocabularies = 0: must be at least 1"),
    ],
)
def test_bad_options(option: str, value: str, message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([option, value]) == 2
    assert message in capsys.readouterr().err
