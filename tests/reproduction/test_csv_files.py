import csv
import dataclasses
import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from hashfed.reproduction.csv_files import write_csv_files
from hashfed.reproduction.results import RunRow
from reproduced import empty, failed_row, run_row, whole

READ: dict[object, Callable[[str], Any]] = {int: int, float: float, str: str}
"""How a cell is read back by the type of its field; the only other one is a tuple."""


def read_runs(path: Path) -> tuple[RunRow, ...]:
    kinds = {field.name: field.type for field in dataclasses.fields(RunRow)}
    with path.open(encoding="utf-8", newline="") as file:
        header, *lines = csv.reader(file, strict=True)
    assert header == list(kinds)
    return tuple(RunRow(**dict(_cells(kinds, line))) for line in lines)


def _cells(kinds: dict[str, Any], line: list[str]) -> Iterator[tuple[str, Any]]:
    for (name, kind), cell in zip(kinds.items(), line, strict=True):
        yield name, READ[kind](cell) if kind in READ else tuple(cell.split())


def test_runs_come_back_exactly(tmp_path: Path) -> None:
    found = whole(seeds=2)
    written = write_csv_files(found, tmp_path)
    assert [path.name for path in written] == ["figure1.csv", "table1.csv", "table2.csv", "trials.csv"]
    for name in ("figure1", "table2"):
        runs = [run for run in found.runs if name in run.experiments]
        back = read_runs(tmp_path / f"{name}.csv")
        # Not measured is NaN, which is equal to nothing.
        assert [str(run) for run in back] == [str(run) for run in runs]
        again = dataclasses.replace(found, runs=back)
        write_csv_files(again, tmp_path / "again")
        assert (tmp_path / "again" / f"{name}.csv").read_bytes() == (tmp_path / f"{name}.csv").read_bytes()


def test_numbers_have_all_their_digits(tmp_path: Path) -> None:
    odd = run_row(
        "planes", "own+1%", accuracy=0.1 + 0.2, nll=1e-17, rows=1 / 3, experiments=("figure1", "table2")
    )
    write_csv_files(empty(runs=(odd,)), tmp_path)
    (run,) = read_runs(tmp_path / "figure1.csv")
    assert (run.accuracy, run.nll, run.rows, run.experiments) == (
        0.1 + 0.2,
        1e-17,
        1 / 3,
        ("figure1", "table2"),
    )
    assert math.isnan(run.memory)


def test_reasons_of_failures_may_hold_anything(tmp_path: Path) -> None:
    reason = 'diverged, "nan"\nin round 3;\r\n=1+1'
    write_csv_files(empty(runs=(failed_row("random", "0.1", failed=reason),)), tmp_path)
    (run,) = read_runs(tmp_path / "figure1.csv")
    assert run.failed == reason
    assert math.isnan(run.share)


def test_trials_have_a_column_for_each_setting(tmp_path: Path) -> None:
    write_csv_files(whole(), tmp_path)
    with (tmp_path / "trials.csv").open(encoding="utf-8", newline="") as file:
        lines = list(csv.DictReader(file))
    hashed = [line for line in lines if line["method"] == "simhash" and line["vocabulary"] == "10000"]
    assert [line["number"] for line in hashed] == ["1", "2", "3"]
    assert [line["chosen"] for line in hashed] == ["False", "True", "False"]
    assert hashed[0]["server.learning_rate"] == repr(10**-1.5)
    assert hashed[0]["retrieval.bits"] == "8"
    assert lines[0]["retrieval.bits"] == ""


def test_files_without_a_line_are_not_written(tmp_path: Path) -> None:
    assert write_csv_files(empty(), tmp_path) == []
    assert [path.name for path in write_csv_files(empty(runs=(run_row(),)), tmp_path)] == ["figure1.csv"]
