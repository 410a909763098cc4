import json
from pathlib import Path

import pytest

from hashfed.cli.main import main
from hashfed.cli.sizes import read_bytes
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


@pytest.mark.parametrize(
    ("options", "message"),
    [
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
