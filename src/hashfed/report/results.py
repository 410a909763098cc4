"""What reports need of a finished run."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hashfed.config import Config
from hashfed.errors import HashfedError
from hashfed.runs.contents import REMEDY
from hashfed.runs.folder import RunFolder
from hashfed.tasks.presentation import Presentation
from hashfed.tasks.registry import make_task


@dataclass(frozen=True)
class RunResult:
    """A finished run.

    Attributes:
        name: the folder's name.
        data_name: which data, and how many rows.
        presentation: how the numbers of its task read.
        method: retrieval method.
        share: mean share of the output rows on a client: the paper's computed parameters.
        evaluation: final metrics on all held-out examples.
        floors: of the same examples.
        device: mean cost of a client and round.
        lines: of ``metrics.jsonl``.
        total_rows: n.

    """

    name: str
    data_name: str
    presentation: Presentation
    method: str
    share: float
    evaluation: dict[str, float]
    floors: dict[str, float]
    device: dict[str, Any]
    lines: list[dict[str, Any]]
    total_rows: int

    @property
    def memory(self) -> int:
        """Peak bytes of a client's process above the same process before its first message."""
        return int(self.device["memory_peak"] - self.device["memory_baseline"])


def read_result(run: RunFolder) -> RunResult:
    """Read a run.

    Raises:
        HashfedError: where the folder is no run, or one that is not finished.

    """
    config = run.config()
    summary, data = run.read_json("summary.json"), run.read_json("data.json")
    lines = run.lines("metrics.jsonl")
    if not is_finished(summary, lines):
        raise HashfedError(
            f"{run.path}: not finished ({len(lines)} of {config.rounds} rounds); the command that began it, "
            "hashfed train or hashfed serve, goes on from there"
        )
    if data is None:
        raise HashfedError(
            f"{run.path / 'data.json'}: missing; the command that began the run writes it anew"
        )
    if len(lines) < summary["rounds"] or not lines:
        raise HashfedError(
            f"{run.path / 'metrics.jsonl'}: ends at round {len(lines)}, but summary.json is of round "
            f"{summary['rounds']}; {REMEDY}"
        )
    group = "" if config.evaluation.clients == "test" else f", {config.evaluation.clients} clients"
    return RunResult(
        name=run.path.resolve().name,
        data_name=f"{config.data.source}, {rows_text(config, data['rows'])}{group}",
        presentation=make_task(config.data).presentation,
        method=config.retrieval.method,
        share=summary["device"]["rows"] / data["rows"],
        evaluation=summary["evaluation"],
        floors=data["floors"],
        device=summary["device"],
        lines=lines,
        total_rows=data["rows"],
    )


def rows_text(config: Config, rows: int) -> str:
    """What decides the number of rows, in the terms of the task; where the data do, that number."""
    data = config.data
    value = getattr(data, data.size_setting)
    return f"{rows if value is None else value:,} {make_task(data).presentation.rows}"


def is_finished(summary: dict[str, Any] | None, lines: Sequence[object]) -> bool:
    """Whether a run with this ``summary.json`` has no later round among the ``lines`` of its metrics.

    A finished run that was given more rounds and then stopped still has its old summary.
    """
    return summary is not None and len(lines) <= summary["rounds"]


def each_once(runs: Sequence[RunFolder]) -> list[RunFolder]:
    """The runs in the order given, without folders that were there before, by whatever path."""
    first: dict[Path, RunFolder] = {}
    for run in runs:
        first.setdefault(run.path.resolve(), run)
    return list(first.values())


def unique_names(paths: Sequence[Path]) -> list[str]:
    """Folder names; where several are the same, with as many parents as it takes to tell them apart."""
    parts = [path.resolve().parts for path in paths]

    def name(of: tuple[str, ...]) -> str:
        alike = [other for other in parts if other[-1] == of[-1]]
        for length in range(1, len(of)):
            if sum(other[-length:] == of[-length:] for other in alike) == 1:
                return "/".join(of[-length:])
        return str(Path(*of))

    return [name(of) for of in parts]
