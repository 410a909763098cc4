"""Table 2: what larger models with some of the rows gain over the full one on the same device."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from hashfed.reproduction.analysis import (
    Spread,
    full_runs,
    paired,
    points_apart,
    unified_accuracy,
)
from hashfed.reproduction.methods import METHODS
from hashfed.reproduction.paper import HASH, PaperRow, paper_row
from hashfed.reproduction.results import FULL, Reproduction, RunRow


@dataclass(frozen=True)
class DeviceRow:
    """A line of table 2; numbers are means over seeds.

    Attributes:
        vocabulary: V.
        method: its name.
        budget: its label.
        capacity: which size was made as large as possible; empty for the full model.
        limit: ``parameters`` or ``memory``; empty for the full model.
        runs: those with a result, by seed.
        failed: the others.
        parameters: on the device.
        memory: measured peak bytes of a client's process above its libraries; NaN where not measured.
        accuracy: over seeds, as a fraction.
        unified: accuracy on the words of the largest vocabulary, over seeds, as a fraction.
        gain: points over the full model in pairs of the same seed; the full model itself has no values.
        paper: the paper's line for this vocabulary, method and capacity.

    """

    vocabulary: int
    method: str
    budget: str
    capacity: str
    limit: str
    runs: tuple[RunRow, ...]
    failed: tuple[RunRow, ...]
    parameters: float
    memory: float
    accuracy: Spread
    unified: Spread
    gain: Spread
    paper: PaperRow | None

    @property
    def first(self) -> RunRow:
        """A run of it, for sizes that all have."""
        return (self.runs or self.failed)[0]


def device_rows(found: Reproduction) -> tuple[DeviceRow, ...]:
    """By vocabulary the full model, then methods in their order, capacities and limits in the plan's."""
    order = {method: place for place, method in enumerate(METHODS)}
    rows = []
    for vocabulary in found.vocabularies:
        groups: dict[tuple[str, ...], list[RunRow]] = {}
        for run in found.runs:
            if "table2" in run.experiments and run.vocabulary == vocabulary:
                groups.setdefault((run.method, run.capacity, run.limit, run.budget), []).append(run)
        for key in sorted(groups, key=lambda key: order[key[0]]):
            rows.append(_device_row(found, groups[key]))
    return tuple(rows)


def full_row(rows: Sequence[DeviceRow], vocabulary: int) -> DeviceRow | None:
    """The full model's line; None where it is not there."""
    return next((row for row in rows if row.vocabulary == vocabulary and row.method == FULL), None)


def best_gain(rows: Sequence[DeviceRow], vocabulary: int, limit: str) -> DeviceRow | None:
    """The line that gains most among those that need no more of ``limit`` than the full model does.

    Memory is the measured, so that a line whose prediction was wrong does not count; nor does one of which a
    run failed. None where there is no such line.
    """
    full = full_row(rows, vocabulary)
    if full is None:
        return None
    fit = [
        row
        for row in rows
        if row.vocabulary == vocabulary
        and row.limit
        and row.gain.values
        and not row.failed
        and _needs(row, limit) <= _needs(full, limit)
    ]
    return max(fit, key=lambda row: row.gain.mean, default=None)


def largest_oov_rate(found: Reproduction) -> float:
    """Share of out-of-vocabulary targets under the largest vocabulary; NaN where nothing says it."""
    largest = max(found.vocabularies, default=0)
    rates = [run.oov_rate for run in found.runs if run.vocabulary == largest and not run.failed]
    return rates[0] if rates else found.floors.get(largest, {}).get("oov_rate", math.nan)


def _needs(row: DeviceRow, limit: str) -> float:
    return row.parameters if limit == "parameters" else row.memory


def _device_row(found: Reproduction, runs: Sequence[RunRow]) -> DeviceRow:
    in_order = sorted(runs, key=lambda run: run.seed)
    finished = tuple(run for run in in_order if not run.failed)
    first, rate = in_order[0], largest_oov_rate(found)
    pairs = paired(finished, tuple(full_runs(found.runs, first.vocabulary).values()))
    is_papers = first.method == FULL or (first.method, first.capacity) == (HASH, "ffn")
    measured = [run.memory for run in finished if math.isfinite(run.memory)]
    return DeviceRow(
        first.vocabulary,
        first.method,
        first.budget,
        first.capacity,
        first.limit,
        finished,
        tuple(run for run in in_order if run.failed),
        Spread(tuple(run.parameters for run in finished)).mean,
        Spread(tuple(measured)).mean,
        Spread(tuple(run.accuracy for run in finished)),
        Spread(tuple(unified_accuracy(run, rate) for run in finished)),
        Spread(()) if first.method == FULL else points_apart(pairs),
        paper_row(first.vocabulary, first.method) if is_papers else None,
    )
