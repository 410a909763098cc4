"""What reports need of a finished run."""

from dataclasses import dataclass
from typing import Any

from hashfed.errors import HashfedError
from hashfed.experiments.run_folder import RunFolder


@dataclass(frozen=True)
class RunResult:
    """A finished run.

    Attributes:
        name: the folder's name.
        data_name: which data and vocabulary.
        method: retrieval method.
        share: mean share of the output rows on a client: the paper's computed parameters.
        evaluation: final metrics on all held-out sentences.
        floors: of the same sentences.
        device: mean cost of a client and round.
        lines: of ``metrics.jsonl``.
        total_rows: n.

    """

    name: str
    data_name: str
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
    if summary is None or data is None:
        raise HashfedError(f"{run.path}: not finished; the hashfed train command that began it goes on")
    return RunResult(
        name=run.path.resolve().name,
        data_name=f"{config.data.source}, {config.data.vocabulary:,} words",
        method=config.retrieval.method,
        share=summary["device"]["rows"] / data["rows"],
        evaluation=summary["evaluation"],
        floors=data["floors"],
        device=summary["device"],
        lines=run.lines("metrics.jsonl"),
        total_rows=data["rows"],
    )
