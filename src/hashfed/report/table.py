"""Runs side by side as plain text."""

from collections.abc import Sequence
from dataclasses import replace
from typing import TextIO

from hashfed.report.columns import print_columns
from hashfed.report.results import RunResult, each_once, read_result, unique_names
from hashfed.runs.folder import RunFolder
from hashfed.tasks.presentation import Measure

COSTS = ("down MB", "up MB", "GFLOP", "memory MB")


def row(result: RunResult, measures: Sequence[Measure]) -> tuple[str, ...]:
    """The cells of one run; empty where its task has no such measure."""
    device, found = result.device, result.evaluation
    return (
        result.name,
        _percent(result.share),
        *(measure.text(found[measure.key]) if measure.key in found else "" for measure in measures),
        f"{device['bytes_down'] / 1e6:.2f}",
        f"{device['bytes_up'] / 1e6:.2f}",
        f"{device['flops'] / 1e9:.1f}",
        f"{result.memory / 1e6:.0f}",
    )


def _percent(share: float) -> str:
    """Such as ``10%``; small shares with two significant digits, such as ``1.4%``."""
    percent = 100 * share
    return f"{percent:.0f}%" if percent >= 10 else f"{percent:.2g}%"


def print_table(runs: Sequence[RunFolder], file: TextIO) -> None:
    """Print final metrics, cost per client and round, and the floors; a folder given twice is shown once.

    Raises:
        HashfedError: where a folder is no finished run.

    """
    runs = each_once(runs)
    names = unique_names([run.path for run in runs])
    results = [replace(read_result(run), name=name) for run, name in zip(runs, names, strict=True)]
    measures = list(dict.fromkeys(one for result in results for one in result.presentation.brief))
    lines = [("run", "rows", *(measure.brief for measure in measures), *COSTS)]
    lines += [row(result, measures) for result in results]
    for name, result in {result.data_name: result for result in results}.items():
        for floor in result.presentation.floors:
            values = (measure.floor(result.floors, floor) for measure in measures)
            found = zip(measures, values, strict=True)
            cells = ("" if value is None else measure.text(value) for measure, value in found)
            lines.append((f"({floor} floor, {name})", "", *cells, *("" for _ in COSTS)))
    print_columns(lines, file)
