"""Results as CSV files: exact, in a stable order."""

import csv
import dataclasses
import io
from collections.abc import Iterable, Sequence
from pathlib import Path

from hashfed.files import write_atomically
from hashfed.reproduction.results import (
    ParameterRow,
    Reproduction,
    RunRow,
    TrialRow,
    setting_names,
)


def write_csv_files(found: Reproduction, folder: Path) -> list[Path]:
    """Write ``figure1.csv``, ``table1.csv``, ``table2.csv`` and ``trials.csv``, those that have a line.

    Figure 1 and table 2 have a line for each run; a run of both is in both.

    Raises:
        HashfedError: where one cannot be written.

    """
    made = {
        "figure1.csv": _lines(RunRow, [run for run in found.runs if "figure1" in run.experiments]),
        "table1.csv": _lines(ParameterRow, found.parameters),
        "table2.csv": _lines(RunRow, [run for run in found.runs if "table2" in run.experiments]),
        "trials.csv": _trial_lines(found.trials),
    }
    written = []
    for name, lines in made.items():
        if len(lines) > 1:
            write_atomically(folder / name, _text(lines).encode())
            written.append(folder / name)
    return written


def _lines(kind: type[RunRow | ParameterRow], rows: Iterable[RunRow | ParameterRow]) -> list[list[str]]:
    names = [field.name for field in dataclasses.fields(kind)]
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
