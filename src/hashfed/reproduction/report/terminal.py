"""A reproduction as short plain text."""

from typing import TextIO

from hashfed.report.columns import print_columns
from hashfed.reproduction.analysis import WITHIN_NATS, WITHIN_POINTS, Spread, smallest
from hashfed.reproduction.device_budget import device_rows
from hashfed.reproduction.report import texts
from hashfed.reproduction.report.looks import title
from hashfed.reproduction.report.tables import paper_gain, parameter_table
from hashfed.reproduction.results import FULL, Reproduction


def print_reproduction(found: Reproduction, file: TextIO) -> None:
    """Print the smallest budgets of each method, the gains of table 2, and table 1."""
    blocks = [_budget_lines(found, vocabulary) for vocabulary in found.vocabularies]
    blocks += [_gain_lines(found), _size_lines(found)]
    tables = [lines for lines in blocks if len(lines) > 1]
    for number, lines in enumerate(tables):
        if number:
            print(file=file)
        print_columns(lines, file)
    if not tables:
        print("There is no result yet.", file=file)


def _budget_lines(found: Reproduction, vocabulary: int) -> list[tuple[str, ...]]:
    """A line for each method of figure 1."""
    near = (f"{WITHIN_POINTS} points from", f"{WITHIN_NATS} nats from")
    lines: list[tuple[str, ...]] = [
        (f"figure 1, {vocabulary:,} words", *near, "best accuracy (%)", "NLL", "runs", "failed")
    ]
    for method in found.methods:
        best = smallest(found.runs, vocabulary, method)
        points = [gap.point for gap in best.gaps]
        runs, failed = sum(len(point.runs) for point in points), sum(len(point.failed) for point in points)
        if points:
            top = max(points, key=lambda point: point.accuracy.mean if point.runs else -1.0)
            near = ("", "") if method == FULL else (texts.smallest_points(best), texts.smallest_nats(best))
            numbers = (texts.accuracy(top.accuracy), texts.nats(Spread(tuple(run.nll for run in top.runs))))
            lines.append((title(method), *near, *numbers, str(runs), str(failed)))
    return lines


def _gain_lines(found: Reproduction) -> list[tuple[str, ...]]:
    """A line for each row of table 2."""
    header = (
        "table 2",
        "words",
        "model",
        "within",
        "parameters",
        "memory",
        "accuracy (%)",
        "gain",
        "the paper",
    )
    lines: list[tuple[str, ...]] = [header]
    for row in device_rows(found):
        is_full = row.method == FULL
        lines.append(
            (
                title(row.method),
                f"{row.vocabulary:,}",
                texts.size(row.first),
                "" if is_full else row.limit,
                texts.parameters(row.parameters),
                texts.memory(row.memory),
                texts.accuracy(row.accuracy),
                "" if is_full else texts.points(row.gain.mean),
                "" if is_full else paper_gain(row),
            )
        )
    return lines


def _size_lines(found: Reproduction) -> list[tuple[str, ...]]:
    """Table 1, without formulas."""
    if not found.parameters:
        return []
    table = parameter_table(found)
    return [
        ("table 1", *(name.lower() for name in table.header[1:3])),
        *(line.cells[:3] for line in table.lines),
    ]
