"""Results as CSV files: exact, in a stable order, and runs can be read back."""

import csv
import dataclasses
import io
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from hashfed.display import shown
from hashfed.errors import HashfedError
from hashfed.files import write_atomically
from hashfed.reproduction.results import (
    ParameterRow,
    Reproduction,
    RunRow,
    TrialRow,
    setting_names,
)

_RUN_FIELDS = {field.name: field.type for field in dataclasses.fields(RunRow)}


def write_csv_files(found: Reproduction, folder: Path) -> list[Path]:
    """Write ``figure1.csv``, ``table1.csv``, ``table2.csv`` and ``trials.csv``, those that have a line.

    Figure 1 and table 2 have a line for each run; a run of both is in both.

    Raises:
        HashfedError: where one cannot be written.

    """
    made = {
        "figure1.csv": _run_lines([run for run in found.runs if "figure1" in run.experiments]),
        "table1.csv": _parameter_lines(found.parameters),
        "table2.csv": _run_lines([run for run in found.runs if "table2" in run.experiments]),
        "trials.csv": _trial_lines(found.trials),
    }
    written = []
    for name, lines in made.items():
        if len(lines) > 1:
            write_atomically(folder / name, _text(lines).encode())
            written.append(folder / name)
    return written


def read_runs(path: Path) -> tuple[RunRow, ...]:
    """The runs of ``figure1.csv`` or ``table2.csv``, to be shown again or added to.

    Raises:
        HashfedError: where the file cannot be read or is none of these.

    """
    try:
        text = path.read_bytes().decode()  # as it is: csv reads the ends of lines itself
        lines = list(csv.reader(io.StringIO(text, newline=""), strict=True))
    except OSError as error:
        raise HashfedError(f"{path}: cannot be read ({error.strerror or error})") from None
    except (UnicodeDecodeError, csv.Error) as error:
        raise HashfedError(f"{path}: no CSV file in UTF-8 ({error})") from None
    if not lines or lines[0] != list(_RUN_FIELDS):
        raise HashfedError(
            f"{path}: no runs of a reproduction; the first line must be {','.join(_RUN_FIELDS)}"
        )
    return tuple(_run(path, number, cells) for number, cells in enumerate(lines[1:], start=1))


def _run(path: Path, number: int, cells: Sequence[str]) -> RunRow:
    if len(cells) != len(_RUN_FIELDS):
        raise HashfedError(f"{path}: run {number} has {len(cells)} fields, must have {len(_RUN_FIELDS)}")
    values: dict[str, Any] = {}
    for (name, kind), cell in zip(_RUN_FIELDS.items(), cells, strict=True):
        try:
            values[name] = _read(kind, cell)
        except ValueError:
            asked = "a whole number" if kind is int else "a number"
            raise HashfedError(f"{path}: run {number}: {name} = {shown(cell)}: must be {asked}") from None
    return RunRow(**values)


def _read(kind: object, cell: str) -> Any:
    if kind is int:
        return int(cell)
    if kind is float:
        return float(cell)
    return cell if kind is str else tuple(cell.split())


def _run_lines(runs: Iterable[RunRow]) -> list[list[str]]:
    lines = [[_exact(getattr(run, name)) for name in _RUN_FIELDS] for run in runs]
    return [list(_RUN_FIELDS), *lines]


def _parameter_lines(rows: Iterable[ParameterRow]) -> list[list[str]]:
    names = [field.name for field in dataclasses.fields(ParameterRow)]
    return [names, *([_exact(getattr(row, name)) for name in names] for row in rows)]


def _trial_lines(trials: Sequence[TrialRow]) -> list[list[str]]:
    """A column for each setting that any trial has."""
    settings = setting_names(trials)
    names = [field.name for field in dataclasses.fields(TrialRow) if field.name != "settings"]
    lines = [
        [
            *(_exact(getattr(trial, name)) for name in names),
            *(_exact(trial.settings.get(name, "")) for name in settings),
        ]
        for trial in trials
    ]
    return [[*names, *settings], *lines]


def _exact(value: object) -> str:
    """A number with all its digits."""
    if isinstance(value, tuple):
        return " ".join(value)
    return value if isinstance(value, str) else repr(value)


def _text(lines: Iterable[Sequence[str]]) -> str:
    file = io.StringIO(newline="")
    csv.writer(file, lineterminator="\n").writerows(lines)
    return file.getvalue()
