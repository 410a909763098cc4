import json
from pathlib import Path

import pytest

from benchmarks.index.__main__ import main
from benchmarks.index.speed import SPEED_METHODS, USUAL, measure_speed


def test_every_step_of_every_method_is_timed_as_often_as_asked() -> None:
    seen: list[str] = []
    found = measure_speed(300, 12, USUAL, 2, seen.append)
    assert seen == [*USUAL] * 3  # in turn, and once to warm up
    assert (found["rows"], found["width"], found["repeats"], found["threads"]) == (300, 12, 2, 1)
    for name in USUAL:
        simhash = name.startswith("simhash")
        expected = {"build", "refresh", "lookup", "select", "hash_floor" if simhash else "lookup_floor"}
        steps = found["methods"][name]
        assert set(steps) == {f"{step}_seconds" for step in expected | ({"tables"} if simhash else set())}
        for median, least, most in (*steps.values(), found["memory_pass_seconds"]):
            assert 0 <= least <= median <= most


def test_the_paper_s_method_has_the_paper_s_parameters() -> None:
    union = SPEED_METHODS["simhash-union"]
    assert (union.bits, union.tables, union.transform) == (8, 8, "none")
    assert {SPEED_METHODS[name].method for name in USUAL} <= set(SPEED_METHODS)


def test_the_command_writes_json_and_tables(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["--rows", "200", "300", "--width", "8", "--methods", "exact", "simhash-union", "exact"]
    assert main([*arguments, "--repeats", "1", "--output", str(tmp_path / "out")]) == 0
    results = json.loads((tmp_path / "out" / "result.json").read_text())
    assert [result["rows"] for result in results] == [200, 300]
    assert [list(result["methods"]) for result in results] == [["exact", "simhash-union"]] * 2
    table = capsys.readouterr().out
    assert table.count("simhash-union") == 2
    assert "300 × 8 rows, 1 thread, medians of 1" in table
    assert "refresh ms" in table


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--rows", "0"], "--rows = 0: must be at least 1"),
        (["--rows", "5", "-2"], "--rows = -2: must be at least 1"),
        (["--width", "0"], "--width = 0: must be at least 1"),
        (["--repeats", "0"], "--repeats = 0: must be at least 1"),
        (["--methods", "exact", "magic"], "--methods 'magic': must be one of: simhash-union, "),
        (["--clients", "3"], "--clients: only with LAYER"),
        (["--indexes", "exact"], "--indexes: only with LAYER"),
        (["synthetic", "--rows", "5"], "--rows: only without LAYER"),
        (["synthetic", "--methods", "exact"], "--methods: only without LAYER"),
    ],
)
def test_mistakes_are_one_line(
    arguments: list[str],
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(arguments) == 2
    error = capsys.readouterr().err
    assert error.startswith(f"hashfed: {message}")
    assert error.count("\n") == 1
    assert not list(tmp_path.iterdir())


def test_a_result_that_cannot_be_written_is_reported_first(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("")
    assert main(["--output", str(tmp_path / "file")]) == 2
    assert "cannot be written" in capsys.readouterr().err
