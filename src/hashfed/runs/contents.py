"""What the JSON files of a run's folder hold, checked where they are read: people and disks change files."""

from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from hashfed.display import brief, shown
from hashfed.errors import HashfedError

REMEDY = "restore the file from a copy, or train in another folder (--output)"

Count = Annotated[int, Field(ge=0)]
Share = Annotated[float, Field(ge=0, le=1)]
Numbers = dict[str, float]


class _Contents(BaseModel):
    """Only what is read is asked for; other versions of hashfed may have written more."""

    model_config = ConfigDict(strict=True, extra="ignore", allow_inf_nan=False)


class Floors(_Contents):
    """In ``data.json``: what tables of counts achieve."""

    __pydantic_extra__: dict[str, float]
    model_config = ConfigDict(strict=True, extra="allow", allow_inf_nan=False)

    unigram_accuracy: Share
    unigram_nll: float
    bigram_accuracy: Share
    bigram_nll: float
    targets: float
    oov_rate: Share


class DataFacts(_Contents):
    """``data.json``."""

    rows: Annotated[int, Field(ge=1)]
    train_clients: Count
    held_out_clients: Count
    held_out_examples: Count
    floors: Floors
    sha256: str | None = None
    vocabulary_sha256: str | None = None


class Evaluation(_Contents):
    """Of held-out examples."""

    accuracy: Share
    accuracy_with_oov: Share
    top3_accuracy: Share
    nll: Annotated[float, Field(allow_inf_nan=True)]
    """Not finite in runs of earlier versions that had diverged; plots leave a gap."""


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


class Summary(_Contents):
    """``summary.json``."""

    rounds: Count
    evaluation: Evaluation
    device: Device
    seconds_per_round: float | None


class MetricsLine(_Contents):
    """A line of ``metrics.jsonl``, as reports read it."""

    round: Annotated[int, Field(ge=1)]
    bytes: Numbers
    evaluation: Evaluation | None = None


class TrainedLine(MetricsLine):
    """The same, as a training that goes on reads it."""

    clients: Annotated[int, Field(ge=1)]
    rows: float
    parameters: float
    flops: float


class TimingsLine(_Contents):
    """A line of ``timings.jsonl``."""

    round: Annotated[int, Field(ge=1)]
    play: float


FILES: dict[str, type[BaseModel]] = {"data.json": DataFacts, "summary.json": Summary}
LINES: dict[str, type[BaseModel]] = {"metrics.jsonl": MetricsLine, "timings.jsonl": TimingsLine}


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
