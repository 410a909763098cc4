"""What the JSON files of a run's folder hold, checked where they are read: people and disks change files."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError, create_model

from hashfed.display import brief, shown
from hashfed.errors import HashfedError
from hashfed.tasks.presentation import Measure, Presentation

REMEDY = "restore the file from a copy, or train in another folder (--output)"

Count = Annotated[int, Field(ge=0)]
Share = Annotated[float, Field(ge=0, le=1)]
Numbers = dict[str, float]


class _Contents(BaseModel):
    """Only what is read is asked for; other versions of hashfed may have written more."""

    model_config = ConfigDict(strict=True, extra="ignore", allow_inf_nan=False)


class _Floors(_Contents):
    """In ``data.json``; a task has more."""

    __pydantic_extra__: dict[str, float]
    model_config = ConfigDict(strict=True, extra="allow", allow_inf_nan=False)


class _DataFacts(_Contents):
    """``data.json`` without the floors."""

    rows: Annotated[int, Field(ge=1)]
    train_clients: Count
    held_out_clients: Count
    held_out_examples: Count
    sha256: str | None = None
    names_sha256: str | None = None


class Device(_Contents):
    """The mean cost of a client and round."""

    rows: float
    parameters: float
    flops: float
    bytes: Numbers
    bytes_down: float
    bytes_up: float
    memory_baseline: float
    memory_peak: float


class _Summary(_Contents):
    """``summary.json`` without the evaluation."""

    rounds: Count
    device: Device
    seconds_per_round: float | None


class _MetricsLine(_Contents):
    """A line of ``metrics.jsonl`` without the evaluation, as reports read it."""

    round: Annotated[int, Field(ge=1)]
    bytes: Numbers


class _TrainedLine(_MetricsLine):
    """The same, as a training that goes on reads it."""

    clients: Annotated[int, Field(ge=1)]
    rows: float
    parameters: float
    flops: float


class TimingsLine(_Contents):
    """A line of ``timings.jsonl``."""

    round: Annotated[int, Field(ge=1)]
    play: float


CHECKED = ("data.json", "summary.json", "metrics.jsonl", "timings.jsonl")
"""Files whose contents are known."""


@dataclass(frozen=True)
class Contents:
    """Of a task's runs: what is in each file of ``CHECKED``, or in each of its lines.

    Attributes:
        files: by name.
        trained: what a training that goes on asks of a line of ``metrics.jsonl``.

    """

    files: Mapping[str, type[BaseModel]]
    trained: type[BaseModel]


@cache
def contents_of(task: Presentation) -> Contents:
    """With the floors and evaluations of a task."""
    floors: dict[str, Any] = {
        f"{floor}_{measure.key}": (_number(measure), ...) for floor in task.floors for measure in task.main
    }
    floors |= {"targets": (float, ...)} | dict.fromkeys(task.rates, (Share, ...))
    measured: dict[str, Any] = {measure.key: (_measured(measure), ...) for measure in task.measures}
    evaluation: Any = create_model("Evaluation", __base__=_Contents, **measured)
    data = {"floors": (create_model("Floors", __base__=_Floors, **floors), ...)}
    result, perhaps = {"evaluation": (evaluation, ...)}, {"evaluation": (evaluation | None, None)}
    files: dict[str, type[BaseModel]] = {
        "data.json": _with(_DataFacts, data),
        "summary.json": _with(_Summary, result),
        "metrics.jsonl": _with(_MetricsLine, perhaps),
        "timings.jsonl": TimingsLine,
    }
    return Contents(files, _with(_TrainedLine, perhaps))


def _with(base: type[BaseModel], fields: dict[str, Any]) -> type[BaseModel]:
    return create_model(base.__name__.removeprefix("_"), __base__=base, **fields)


def _number(measure: Measure) -> Any:
    return Share if measure.is_share else float


def _measured(measure: Measure) -> Any:
    """Not finite in runs of earlier versions that had diverged; plots leave a gap."""
    return Share if measure.is_share else Annotated[float, Field(allow_inf_nan=True)]


def check(kind: type[BaseModel], value: object, place: object, remedy: str = REMEDY) -> None:
    """Make sure that ``value`` has the shape of ``kind``.

    Raises:
        HashfedError: naming ``place``, the first part that has not, and the remedy.

    """
    try:
        kind.model_validate(value)
    except ValidationError as error:
        problem = error.errors(include_url=False)[0]
        name = brief(".".join(str(part) for part in problem["loc"]))
        if problem["type"] == "missing":
            reason = f"has no {name}"
        elif not name:
            reason = f"must be an object, not {shown(value)}"
        else:
            message = problem["msg"]
            reason = f"{name} = {shown(problem['input'])}: {message[0].lower()}{message[1:]}"
        raise HashfedError(f"{place}: {reason}; {remedy}") from None


def check_rounds(lines: list[dict[str, Any]], path: Path) -> None:
    """Make sure that checked lines are of round 1 and those that follow it.

    Raises:
        HashfedError: naming the first that is not.

    """
    for number, line in enumerate(lines, start=1):
        if line["round"] != number:
            raise HashfedError(f"{path}: round {line['round']} where round {number} is due; {REMEDY}")
