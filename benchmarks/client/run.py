"""Candidates in turn, several times; medians, and ratios within the run."""

import statistics
from collections.abc import Callable, Sequence
from typing import Any

from benchmarks.client.processes import WorkloadProcess
from benchmarks.client.workload import STEPS
from hashfed.cost.budgets import Budget, budget_label, from_most
from hashfed.errors import HashfedError
from hashfed.federated.protocols import moved

TOLERANCE = 1e-5
"""Largest relative difference of the losses."""


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
    asked = from_most({1.0, *budgets})
    plain, floors = "plain PyTorch", {budget: f"matrix products, {budget_label(budget)}" for budget in asked}
    ours = {budget: f"hashfed, {budget_label(budget)}" for budget in asked}
    with WorkloadProcess(words, keep=True) as tuned, WorkloadProcess(words, keep=False) as default:
        difference = tuned.call("loss_difference")
        if difference > TOLERANCE:
            raise HashfedError(f"losses of hashfed and plain PyTorch differ by {difference:.1e}, relative")
        seconds: dict[str, list[float]] = {}
        reports: dict[str, list[Any]] = {name: [] for name in ours.values()}
        tails: dict[str, list[float]] = {name: [] for name in ours.values()}

        def note(name: str, value: float) -> None:
            if turn > 0:  # the first warms up
                seconds.setdefault(name, []).append(value / STEPS)
            progress(name)

        for turn in range(repeats + 1):
            note(f"{plain}, default malloc", default.call("plain"))
            note(plain, tuned.call("plain"))
            for budget in asked:
                note(floors[budget], tuned.call("products", budget))
                value, report, tail = tuned.call("round", budget)
                note(ours[budget], value)
                if turn > 0:
                    reports[ours[budget]].append(report)
                    tails[ours[budget]].append(tail)
    medians = {name: statistics.median(values) for name, values in seconds.items()}
    result: dict[str, Any] = {}
    for name, values in seconds.items():
        result[name] = {
            "ms_per_step": [1e3 * value for value in (medians[name], min(values), max(values))],
            "to_plain_pytorch": medians[plain] / medians[name],
            "to_plain_pytorch_default_malloc": medians[f"{plain}, default malloc"] / medians[name],
            "to_full": medians[ours[1.0]] / medians[name],
        }
    for name in (plain, f"{plain}, default malloc"):
        result[name]["share_of_floor"] = medians[floors[1.0]] / medians[name]
    full = reports[ours[1.0]][0]
    for budget, name in ours.items():
        found, first = result[name], reports[name][0]
        parts = {
            part: 1e3 * statistics.median(item.seconds.get(part, 0.0) for item in reports[name]) / STEPS
            for part in ("hash", "retrieve", "train")
        }
        found |= {
            "parts": parts,
            "share_of_floor": medians[floors[budget]] / medians[name],
            "retrieval_share": parts["retrieve"] / parts["train"],
            "flop_ratio": full.flops / first.flops,
            "rows": first.rows,
            "steps": STEPS,
            "own_rows": first.own_rows,
            "bytes": _moved(first),
            "bytes_to_full": {way: count / _moved(full)[way] for way, count in _moved(first).items()},
            "server_seconds": {
                "retrieve": 1e-3 * parts["retrieve"] * STEPS,
                "tail": statistics.median(tails[name]),
            },
        }
    return {
        "rows": full.rows,
        "repeats": repeats,
        "threads": 1,
        "loss_difference": difference,
        "candidates": result,
    }


def _moved(report: Any) -> dict[str, int]:
    """Bytes of a round, by way."""
    return {"down": moved(report.bytes, "down"), "up": moved(report.bytes, "up")}
