"""Results from the folders of finished runs."""

import json
import math
from collections.abc import Sequence
from pathlib import Path

from hashfed.experiments.reproduction.plan import Planned, Run, Trial
from hashfed.experiments.reproduction.results import RunRow, TrialRow
from hashfed.experiments.reproduction.tuning import FAILED, Score, best_point
from hashfed.experiments.run_folder import RunFolder
from hashfed.files import write_atomically

FAILURE = "failed.json"
"""In the folder of a run that has no result, for the same settings would fail again."""


def failure(folder: Path) -> str:
    """Why the run in ``folder`` has no result; empty where it may have one."""
    try:
        return str(json.loads((folder / FAILURE).read_text(encoding="utf-8"))["reason"])
    except FileNotFoundError:
        return ""
    except (OSError, ValueError, KeyError, TypeError):
        return ""  # half-written is not kept: the run is made again


def keep_failure(folder: Path, reason: str) -> None:
    """Note that a run failed."""
    write_atomically(folder / FAILURE, (json.dumps({"reason": reason}) + "\n").encode())


def outcome(root: Path, planned: Planned) -> Score | None:
    """How a run came out; None where it is not finished.

    Raises:
        HashfedError: where its files are damaged.

    """
    job = planned.job
    folder = root / job.folder
    if failure(folder):
        return FAILED
    summary = RunFolder(folder).read_json("summary.json") if folder.is_dir() else None
    if summary is None or summary["rounds"] != job.config.rounds:
        return None
    if job.measure_memory and not summary["device"]["memory_peak"]:
        return None
    found = summary["evaluation"]
    return Score(found["accuracy"], found["nll"])


def seconds(root: Path, planned: Sequence[Planned]) -> float:
    """Of all rounds of these runs, evaluation included."""
    total = 0.0
    for item in planned:
        lines = RunFolder(root / item.job.folder).lines("timings.jsonl")
        total += sum(line["play"] + line.get("evaluate", 0.0) for line in lines)
    return total


def run_rows(root: Path, planned: Sequence[Planned]) -> tuple[RunRow, ...]:
    """Of the runs that are finished or failed, in the order planned."""
    memory = _memory(root, planned)
    return tuple(
        _run_row(root, item, memory.get(_model_of(item), math.nan))
        for item in planned
        if isinstance(item, Run) and outcome(root, item) is not None
    )


def trial_rows(root: Path, planned: Sequence[Planned]) -> tuple[TrialRow, ...]:
    """Of the trials that are finished or failed, in the order planned."""
    trials = [item for item in planned if isinstance(item, Trial)]
    scores = {item: outcome(root, item) for item in trials}
    chosen = set()
    for key in {(item.vocabulary, item.method) for item in trials}:
        tried = {
            item.point: score
            for item, score in scores.items()
            if (item.vocabulary, item.method) == key and score is not None
        }
        if tried:
            chosen.add((*key, best_point(tried)))
    rows = []
    for item, score in scores.items():
        if score is not None:
            failed = failure(root / item.job.folder)
            rows.append(
                TrialRow(
                    vocabulary=item.vocabulary,
                    method=item.method,
                    number=item.number,
                    settings=dict(item.point),
                    accuracy=math.nan if failed else score.accuracy,
                    nll=math.nan if failed else score.nll,
                    chosen=(item.vocabulary, item.method, item.point) in chosen,
                    folder=item.job.folder,
                    failed=failed,
                )
            )
    return tuple(rows)


def floors(root: Path, planned: Sequence[Planned]) -> dict[int, dict[str, float]]:
    """By vocabulary: those of the first result's held-out clients."""
    found: dict[int, dict[str, float]] = {}
    for item in planned:
        if isinstance(item, Run) and item.vocabulary not in found and outcome(root, item) is not None:
            facts = RunFolder(root / item.job.folder).read_json("data.json")
            if facts is not None:
                found[item.vocabulary] = dict(facts["floors"])
    return found


def _model_of(run: Planned) -> tuple[object, ...]:
    """What runs of all seeds have in common."""
    assert isinstance(run, Run)
    return run.vocabulary, run.method, run.budget, run.capacity, run.limit


def _memory(root: Path, planned: Sequence[Planned]) -> dict[tuple[object, ...], float]:
    """A client's measured peak above its libraries, by model: measured with one seed."""
    found = {}
    for item in planned:
        measured = isinstance(item, Run) and item.job.measure_memory
        if measured and outcome(root, item) is not None and not failure(root / item.job.folder):
            device = RunFolder(root / item.job.folder).read_json("summary.json")["device"]
            found[_model_of(item)] = float(device["memory_peak"] - device["memory_baseline"])
    return found


def _run_row(root: Path, run: Run, memory: float) -> RunRow:
    folder = RunFolder(root / run.job.folder)
    config = run.job.config
    facts = folder.read_json("data.json") or {
        "rows": config.data.vocabulary,
        "floors": {"oov_rate": math.nan},
    }
    failed = failure(folder.path)
    nothing = dict.fromkeys(("accuracy", "accuracy_with_oov", "top3_accuracy", "nll"), math.nan)
    no_device = dict.fromkeys(("rows", "parameters", "bytes_down", "bytes_up", "flops"), math.nan)
    summary = {"evaluation": nothing, "device": no_device} if failed else folder.read_json("summary.json")
    found, device = summary["evaluation"], summary["device"]
    return RunRow(
        experiments=run.experiments,
        vocabulary=run.vocabulary,
        method=run.method,
        budget=run.budget,
        seed=run.seed,
        capacity=run.capacity,
        limit=run.limit,
        embedding=config.model.embedding,
        ffn=config.model.ffn,
        blocks=config.model.blocks,
        rounds=config.rounds,
        rows=device["rows"],
        total_rows=facts["rows"],
        parameters=device["parameters"] if run.parameters is None else float(run.parameters),
        memory=memory,
        bytes_down=device["bytes_down"],
        bytes_up=device["bytes_up"],
        flops=device["flops"],
        accuracy=found["accuracy"],
        accuracy_with_oov=found["accuracy_with_oov"],
        top3_accuracy=found["top3_accuracy"],
        nll=found["nll"],
        oov_rate=facts["floors"]["oov_rate"],
        folder=run.job.folder,
        failed=failed,
    )
