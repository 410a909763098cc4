"""Runs side by side as plain text."""

from collections.abc import Sequence
from dataclasses import replace
from typing import TextIO

from hashfed.report.columns import print_columns
from hashfed.report.results import RunResult, each_once, read_result, unique_names
from hashfed.runs.folder import RunFolder

HEADER = ("run", "rows", "accuracy", "top-3", "nll", "down MB", "up MB", "GFLOP", "memory MB")


def row(result: RunResult) -> tuple[str, ...]:
    """The cells of one run."""
    device, evaluation = result.device, result.evaluation
    return (
        result.name,
        _percent(result.share),
        f"{evaluation['accuracy']:.2%}",
        f"{evaluation['top3_accuracy']:.2%}",
        f"{evaluation['nll']:.3f}",
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
    lines = [HEADER, *(row(result) for result in results)]
    for name, floors in {result.data_name: result.floors for result in results}.items():
        for floor in ("unigram", "bigram"):
            label = f"({floor} floor, {name})"
            accuracy, nll = floors[f"{floor}_accuracy"], floors[f"{floor}_nll"]
            lines.append((label, "", f"{accuracy:.2%}", "", f"{nll:.3f}", "", "", "", ""))
    print_columns(lines, file)
