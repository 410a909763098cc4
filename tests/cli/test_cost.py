import json
from pathlib import Path

import pytest

from hashfed.cli.budgets import budget, check_budgets
from hashfed.cli.main import main
from hashfed.cli.sizes import read_bytes
from hashfed.cost.budgets import Budget, OwnAnd, budget_label
from hashfed.errors import HashfedError
from small import small_config


@pytest.fixture
def command(texts: Path, tmp_path: Path) -> list[str]:
    (tmp_path / "small.yaml").write_text(small_config(texts).to_yaml())
    return ["cost", str(tmp_path / "small.yaml"), "--no-measure"]


def test_tables_and_json(command: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "cost.json"
    options = [
        "--budgets",
        "1",
        "0.3",
        "--selection.budget",
        "0.3",
        "--max-memory",
        "4MB",
        "--json",
        str(file),
    ]
    assert main([*command, *options]) == 0
    result = json.loads(file.read_text())
    assert result["config"]["selection"]["budget"] == 0.3
    assert [entry["budget"] for entry in result["budgets"]] == [1.0, 0.3]
    assert result["largest"]["limits"] == {"memory": 4_000_000, "bytes": None}
    busiest = result["clients"]["busiest"]
    assert busiest["bytes"] == result["budgets"][1]["bytes"]
    out = capsys.readouterr().out
    assert "44 rows; query-centroids at 0.3 of the rows" in out
    assert f"{busiest['bytes']['update']:,}" in out
    assert "largest models with memory ≤ 4.00 MB" in out
    assert "Energy is left out: it is not measured." in out
    assert "measured MB" not in out
    assert f"result: {file}" in out


def test_own_rows_and_others_in_tables(command: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    options = ["--selection.extra", "3", "--budgets", "1", "own+5%", "own+0%"]
    assert main([*command, *options]) == 0
    out = capsys.readouterr().out
    assert "44 rows; query-centroids at own rows and 3 others" in out
    assert [
        line for line in ("1 full", "own+5% query-centroids", "own+3 query-centroids") if line in out
    ] == [
        "1 full",
        "own+5% query-centroids",
        "own+3 query-centroids",
    ]
    assert "server: tail, GFLOP" in out
    assert "planes, GFLOP" in out
    assert "without planes of the tail the sample alone stands for it" in out
    assert main([*command, "--selection.extra", "0.05", "--selection.correction", "tail"]) == 0
    out = capsys.readouterr().out
    assert "query-centroids at own rows and 0.05 of all" in out
    assert "server: tail" not in out
    assert "the numbers are the same" in out
    assert main([*command, "--selection.correction", "control-variate"]) == 0
    assert "broadcast: selection.correction = control-variate: needs " in capsys.readouterr().out
    assert main([*command, "--retrieval.method", "simhash-union"]) == 0
    assert "server: retrieve, GFLOP        –" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("text", "found"),
    [("0.1", 0.1), ("1", 1.0), ("own+1%", OwnAnd(0.01)), ("own+0%", OwnAnd(0)), ("own+300", OwnAnd(300))],
)
def test_budgets_as_people_write_them(text: str, found: Budget) -> None:
    assert budget(text) == found
    assert budget_label(found) == text
    check_budgets([found])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            ["--budgets", "own+few%"],
            "argument --budgets: 'own+few%': must be a number, such as 0.5 or 1e-3, ",
        ),
        (["--budgets", "own+1%%"], "argument --budgets: 'own+1%%': must be a number, "),
        (["--budgets", "5%"], "argument --budgets: '5%': must be a number, "),
        (["--budgets", "own"], "argument --budgets: 'own': must be a number, "),
        (["--budgets", "own+1.5"], "argument --budgets: 'own+1.5': must be a number, "),
        (["--budgets", "own+-1%"], "argument --budgets: 'own+-1%': must be a number, "),
        (["--budgets", "own+100%"], "or own rows and others, such as own+1% (below 100%) or own+300"),
        (["--budgets", "0"], "--budgets = 0: must be > 0 and ≤ 1"),
        (["--budgets", "0.1", "2"], "--budgets = 2: must be > 0 and ≤ 1"),
        (["--budgets", "few"], "argument --budgets: 'few': must be a number, such as 0.5 or 1e-3"),
        (
            ["--max-memory", "200TB"],
            "--max-memory = 200TB: must be a number of bytes, such as 4096",
        ),
        (["--max-memory", "-5"], "--max-memory = -5: must be a number of bytes"),
        (["--max-bytes", "0"], "--max-bytes = 0: must be at least 1 byte"),
        (["--max-bytes", "100"], "--max-bytes = 100: nothing fits, neither at a smaller budget nor"),
        (["--max-memry", "1"], "--max-memry: no such option; did you mean --max-memory?"),
        (["--selection.budget", "2"], "selection.budget = 2: "),
        (["--data.source", "none.jsonl"], "data.source = none.jsonl: no such file"),
    ],
)
def test_a_mistake_is_one_line(
    command: list[str], options: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    try:
        code: object = main([*command, *options])
    except SystemExit as stop:
        code = stop.code
    out, err = capsys.readouterr()
    assert code == 2
    assert out == ""
    assert message in err
    assert err.startswith("hashfed: ")
    assert err.count("\n") == 1


@pytest.mark.parametrize(
    ("text", "count"),
    [("4096", 4096), ("200MB", 200_000_000), ("1.5 GiB", 3 << 29), ("2kb", 2000), ("7 B", 7), ("1KiB", 1024)],
)
def test_bytes_as_people_write_them(text: str, count: int) -> None:
    assert read_bytes("--max-memory", text) == count


@pytest.mark.parametrize("text", ["", "MB", "1e6", "1,000", "-1", "0.1", "nan"])
def test_other_texts_are_no_bytes(text: str) -> None:
    with pytest.raises(HashfedError, match=r"^--max-memory = .*: must be "):
        read_bytes("--max-memory", text)
