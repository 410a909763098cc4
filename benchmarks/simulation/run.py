"""Candidates in turn, each in fresh processes, several times: client-steps per second."""

import importlib.util
import json
import math
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from benchmarks.simulation.scenario import Scenario
from hashfed.bench.programs import results
from hashfed.errors import HashfedError

PACKAGES = {
    "plain_torch": "torch",
    "pfl_research": "pfl",
    "flower_simulation": "flwr",
    "fedjax_library": "fedjax",
}
"""What each peer needs."""
PACKAGE = "benchmarks.simulation"
TOLERANCE = 1e-4
"""Largest relative difference of losses and norms."""
FULL, PRODUCTS = "hashfed", "matrix products"


def bench_simulation(
    scenario: Scenario,
    budgets: Sequence[float],
    interpreters: Mapping[str, str],
    repeats: int,
    progress: Callable[[str], None] = lambda name: None,
) -> dict[str, Any]:
    """Client-steps per second of hashfed and the peers on the same work.

    Args:
        scenario: the work.
        budgets: at which hashfed plays it too, besides the full layer.
        interpreters: the Python of each peer, by name (keys of ``PACKAGES``).
        repeats: runs of each candidate, in turn.
        progress: told the name of each candidate that was run.

    Returns:
        ``candidates`` by name with ``steps_per_second`` (median, least, most), ``hashfed_speedup`` (hashfed's
        full layer against it), ``share_of_floor``, ``peak_rss`` of all processes and ``version``; and
        ``skipped``, reasons by name.

    Raises:
        HashfedError: where a candidate fails, or its loss or parameters after a round differ.

    """
    commands: dict[str, list[str]] = {FULL: _ours(scenario)}
    commands |= {f"{FULL}, {budget:g}": _ours(replace(scenario, budget=budget)) for budget in budgets}
    skipped = {}
    runs: dict[str, list[Any]] = {}
    floors: list[float] = []
    with tempfile.TemporaryDirectory(prefix="hashfed-") as folder:
        workload = Path(folder) / "workload.safetensors"
        scenario.write_workload(workload)
        for name, python in interpreters.items():
            if _has(python, PACKAGES[name]):
                options = [f"--workers={scenario.workers}", f"--rounds={scenario.rounds}"]
                commands[name] = [python, "-m", f"{PACKAGE}.peers.{name}", str(workload), *options]
            else:
                skipped[name] = f"{python} has no package {PACKAGES[name]}"
        for _ in range(repeats):
            floors.append(_products(scenario))
            progress(PRODUCTS)
            for name, command in commands.items():
                runs.setdefault(name, []).append(_run(name, command))
                if not name.startswith(f"{FULL}, "):  # on other rows the loss is another one
                    _check(name, runs[name][0], runs[FULL][0], scenario.batches)
                progress(name)
    floor = scenario.workers / statistics.median(floors)
    return {
        "scenario": json.loads(scenario.to_json()),
        "repeats": repeats,
        "floor_steps_per_second": floor,
        "candidates": _candidates(runs, floor),
        "skipped": skipped,
    }


def _candidates(runs: Mapping[str, Sequence[Any]], floor: float) -> dict[str, dict[str, Any]]:
    """See ``bench_simulation``; the floor is of all cores, in steps per second."""
    speeds = {name: [_steps_per_second(item) for item in items] for name, items in runs.items()}
    medians = {name: statistics.median(values) for name, values in speeds.items()}
    return {
        name: {
            "version": runs[name][0]["version"],
            "steps_per_second": [medians[name], min(values), max(values)],
            "hashfed_speedup": medians[FULL] / medians[name],
            "share_of_floor": medians[name] / floor,
            "peak_rss": max(item["peak_rss"] or 0 for item in runs[name]),
        }
        for name, values in speeds.items()
    }


def _ours(scenario: Scenario) -> list[str]:
    return [sys.executable, "-m", f"{PACKAGE}.ours", scenario.to_json()]


def _has(python: str, package: str) -> bool:
    if python == sys.executable:
        return importlib.util.find_spec(package) is not None
    code = f"import importlib.util, sys; sys.exit(importlib.util.find_spec({package!r}) is None)"
    try:
        return subprocess.run([python, "-c", code], check=False, capture_output=True).returncode == 0
    except OSError as error:
        raise HashfedError(f"{python}: cannot be run ({error.strerror})") from None


def _steps_per_second(run: Mapping[str, Any]) -> float:
    """Without the first round, in which libraries load and compile."""
    later = run["round_seconds"][1:]
    return float(run["steps"] * len(later) / sum(later))


def _check(name: str, found: Mapping[str, Any], expected: Mapping[str, Any], batches: Sequence[int]) -> None:
    """The mean loss over the first client's steps, and after a round the norms, must be hashfed's."""
    pairs = {
        "loss": (
            statistics.fmean(found["losses"], batches),
            statistics.fmean(expected["losses"], batches),
        )
    }
    pairs |= {
        f"norm of the {part} after a round": (found["norm_after"][part], value)
        for part, value in expected["norm_after"].items()
    }
    for what, (one, other) in pairs.items():
        if not math.isclose(one, other, rel_tol=TOLERANCE):
            raise HashfedError(f"{name}: {what} = {one:.6f}, but hashfed's is {other:.6f}: not the same work")


def _run(name: str, command: Sequence[str]) -> Any:
    return results(name, [command])[0]


def _products(scenario: Scenario) -> float:
    """Seconds of the matrix products of one step while every core is at them."""
    command = [sys.executable, "-m", f"{PACKAGE}.products", str(scenario.words)]
    return statistics.fmean(results(PRODUCTS, [command] * scenario.workers))
