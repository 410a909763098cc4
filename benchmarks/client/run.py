"""Candidates in turn, several times; medians, and ratios within the run."""

import statistics
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from benchmarks.client.processes import WorkloadProcess
from benchmarks.client.workload import STEPS
from hashfed.cost.budgets import Budget, OwnAnd, budget_label
from hashfed.errors import HashfedError
from hashfed.federated.protocols import moved

TOLERANCE = 1e-5
"""Largest relative difference of the losses."""
PLAIN, DEFAULT = "plain PyTorch", "plain PyTorch, default malloc"


def bench_client(
    words: int,
    budgets: Sequence[Budget],
    repeats: int,
    progress: Callable[[str], None] = lambda name: None,
) -> dict[str, Any]:
    """Milliseconds per step of one client's round with V = ``words``, one thread.

    Args:
        words: V.
        budgets: fractions of the rows, or own rows and others; 1, the full layer, is always measured.
        repeats: rounds per candidate, after one that warms up.
        progress: told the name of each candidate that was timed.

    Returns:
        ``candidates`` by name, each with ``ms_per_step`` (median, least, most), ``share_of_floor`` (time of
        the bare matrix products over its own), and ratios of speed ``to_plain_pytorch`` (with freed memory
        kept), ``to_plain_pytorch_default_malloc`` and ``to_full``; hashfed's also with ``parts``, the
        milliseconds per step of hashing, retrieval (with planes of the tail) and training,
        ``retrieval_share`` of the training time, ``flop_ratio`` of the full layer to it, ``bytes`` of a round
        by way and ``bytes_to_full``, and ``server_seconds`` for this client and a round: to ``retrieve``, and
        to move all rows by its change of the ``tail``, in a cohort (not part of a step).

    Raises:
        HashfedError: where the losses of hashfed and plain PyTorch differ.

    """
    asked, measured = sorted({1.0, *budgets}, key=_from_most), _Measured()
    with WorkloadProcess(words, keep=True) as tuned, WorkloadProcess(words, keep=False) as default:
        difference = tuned.call("loss_difference")
        if difference > TOLERANCE:
            raise HashfedError(f"losses of hashfed and plain PyTorch differ by {difference:.1e}, relative")
        _Measured().play(tuned, default, asked, progress)  # the first warms up
        for _ in range(repeats):
            measured.play(tuned, default, asked, progress)
    return {
        "rows": measured.rounds[1.0][0].rows,
        "repeats": repeats,
        "threads": 1,
        "loss_difference": difference,
        "candidates": measured.candidates(),
    }


def _from_most(budget: Budget) -> tuple[bool, float]:
    """Fractions from the largest, then own rows with from the most others."""
    return (True, -budget.extra) if isinstance(budget, OwnAnd) else (False, -budget)


def _ours(budget: Budget) -> str:
    return f"hashfed, {budget_label(budget)}"


def _floor(budget: Budget) -> str:
    return f"matrix products, {budget_label(budget)}"


@dataclass
class _Measured:
    """What the turns found.

    Attributes:
        seconds: of a step, by candidate.
        rounds: reports of hashfed's rounds, by budget.
        tails: seconds of the server to move all rows by their tails.

    """

    seconds: dict[str, list[float]] = field(default_factory=dict)
    rounds: dict[Budget, list[Any]] = field(default_factory=dict)
    tails: dict[Budget, list[float]] = field(default_factory=dict)

    def play(
        self,
        tuned: WorkloadProcess,
        default: WorkloadProcess,
        budgets: Iterable[Budget],
        progress: Callable[[str], None],
    ) -> None:
        """A turn of each candidate."""

        def note(name: str, value: float) -> None:
            self.seconds.setdefault(name, []).append(value / STEPS)
            progress(name)

        note(DEFAULT, default.call("plain"))
        note(PLAIN, tuned.call("plain"))
        for budget in budgets:
            note(_floor(budget), tuned.call("products", budget))
            value, report, tail = tuned.call("round", budget)
            note(_ours(budget), value)
            self.rounds.setdefault(budget, []).append(report)
            self.tails.setdefault(budget, []).append(tail)

    def candidates(self) -> dict[str, dict[str, Any]]:
        """See ``bench_client``."""
        medians = {name: statistics.median(values) for name, values in self.seconds.items()}
        found: dict[str, dict[str, Any]] = {
            name: {
                "ms_per_step": [1e3 * value for value in (medians[name], min(values), max(values))],
                "to_plain_pytorch": medians[PLAIN] / medians[name],
                "to_plain_pytorch_default_malloc": medians[DEFAULT] / medians[name],
                "to_full": medians[_ours(1.0)] / medians[name],
            }
            for name, values in self.seconds.items()
        }
        for name in (PLAIN, DEFAULT):
            found[name]["share_of_floor"] = medians[_floor(1.0)] / medians[name]
        for budget in self.rounds:
            found[_ours(budget)] |= self._of_round(budget, medians)
        return found

    def _of_round(self, budget: Budget, medians: Mapping[str, float]) -> dict[str, Any]:
        """What only hashfed's candidates have."""
        reports, full = self.rounds[budget], self.rounds[1.0][0]
        first = reports[0]
        parts = {
            part: 1e3 * statistics.median(item.seconds.get(part, 0.0) for item in reports) / STEPS
            for part in ("hash", "retrieve", "train")
        }
        return {
            "parts": parts,
            "share_of_floor": medians[_floor(budget)] / medians[_ours(budget)],
            "retrieval_share": parts["retrieve"] / parts["train"],
            "flop_ratio": full.flops / first.flops,
            "rows": first.rows,
            "steps": STEPS,
            "own_rows": first.own_rows,
            "bytes": _moved(first),
            "bytes_to_full": {way: count / _moved(full)[way] for way, count in _moved(first).items()},
            "server_seconds": {
                "retrieve": 1e-3 * parts["retrieve"] * STEPS,
                "tail": statistics.median(self.tails[budget]),
            },
        }


def _moved(report: Any) -> dict[str, int]:
    """Bytes of a round, by way."""
    return {"down": moved(report.bytes, "down"), "up": moved(report.bytes, "up")}
