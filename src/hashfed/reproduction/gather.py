"""Results from the folders of finished runs."""

import json
import math
from collections.abc import Sequence
from pathlib import Path

from hashfed.config import identity
from hashfed.display import shown
from hashfed.errors import HashfedError
from hashfed.files import write_atomically
from hashfed.models import TransformerSettings
from hashfed.models.protocol import OUTPUT
from hashfed.reproduction.plan import Job, Planned, Run, Trial
from hashfed.reproduction.results import RunRow, TrialRow
from hashfed.reproduction.tuning import FAILED, Score, best_point
from hashfed.runs.folder import RunFolder, changed_settings
from hashfed.tasks.registry import make_task

FAILURE = "failed.json"
"""In the folder of a run that has no result, for the same settings would fail again."""


def failure(root: Path, job: Job) -> str:
    """Why a run has no result; empty where it may have one, such as with other settings."""
    try:
        found = json.loads((root / job.folder / FAILURE).read_text(encoding="utf-8"))
        return str(found["reason"]) if found["identity"] == identity(job.config) else ""
    except (OSError, ValueError, KeyError, TypeError):
        return ""  # none, or damaged: the run is made again


def keep_failure(root: Path, job: Job, reason: str) -> None:
    """Note that a run failed."""
    found = {"reason": reason, "identity": identity(job.config)}
    write_atomically(root / job.folder / FAILURE, (json.dumps(found) + "\n").encode())


def outcome(root: Path, planned: Planned) -> Score | None:
    """How a run came out; None where it is not finished.

    Raises:
        HashfedError: where its files are damaged.

    """
    job = planned.job
    if failure(root, job):
        return FAILED
    folder = root / job.folder
    summary = RunFolder(folder).read_json("summary.json") if folder.is_dir() else None
    if summary is None or summary["rounds"] != job.config.rounds:
        return None
    if job.measure_memory and not summary["device"]["memory_peak"]:
        return None
    found = summary["evaluation"]
    return Score(found["accuracy"], found["nll"])


def seems_finished(root: Path, planned: Planned) -> bool:
    """Whether a run is finished or failed, with whatever settings its trials found."""
    return (root / planned.job.folder / FAILURE).exists() or outcome(root, planned) is not None


def same_outcome(root: Path, planned: Planned) -> Score | None:
    """The same, of a run with just these settings.

    Raises:
        HashfedError: also where the folder holds a finished run with others.

    """
    found = outcome(root, planned)
    if found is not None and found != FAILED:
        folder = RunFolder(root / planned.job.folder)
        changed = changed_settings(folder.config(), planned.job.config, same_data=True)
        if changed:
            name, there, here = changed[0]
            raise HashfedError(
                f"{folder.path}: holds a run of another reproduction ({name} is {shown(there)} there, "
                f"{shown(here)} here); choose another --output, or delete that folder"
            )
    return found


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
            failed = failure(root, item.job)
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
        if measured and outcome(root, item) is not None and not failure(root, item.job):
            device = RunFolder(root / item.job.folder).read_json("summary.json")["device"]
            found[_model_of(item)] = float(device["memory_peak"] - device["memory_baseline"])
    return found


def _run_row(root: Path, run: Run, memory: float) -> RunRow:
    folder = RunFolder(root / run.job.folder)
    config, model = run.job.config, TransformerSettings.of(run.job.config.model)
    facts = folder.read_json("data.json") or {
        "rows": make_task(config.data).sizes[OUTPUT],
        "floors": {"oov_rate": math.nan},
    }
    failed = failure(root, run.job)
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
        embedding=model.embedding,
        ffn=model.ffn,
        blocks=model.blocks,
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
