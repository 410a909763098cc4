"""A whole reproduction: what is missing is run, what there is is gathered."""

import platform
import signal
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any, Protocol

import torch

from hashfed import __version__
from hashfed.config import Config
from hashfed.errors import HashfedError
from hashfed.hardware import processor
from hashfed.reproduction import gather, worker
from hashfed.reproduction.choices import open_choices
from hashfed.reproduction.estimate import bytes_to_write, seconds_by_run
from hashfed.reproduction.options import Options
from hashfed.reproduction.parameters import parameter_table
from hashfed.reproduction.plan import Planned, Sizes, foreseen, strands
from hashfed.reproduction.pool import Pool
from hashfed.reproduction.results import FULL, Reproduction
from hashfed.reproduction.schedule import Schedule
from hashfed.reproduction.sizes import SizeBook
from hashfed.reproduction.tuning import FAILED, Score
from hashfed.runs.train import load_data
from hashfed.stopping import Interrupted
from hashfed.tasks.federated_data import FederatedData
from hashfed.tasks.next_word.task import NextWordSettings
from hashfed.tasks.next_word.vocabulary import TooFewWordsError

SIZES = "sizes.json"
"""Of table 2's models, in the folder of a reproduction."""


@dataclass(frozen=True)
class Estimate:
    """Before a reproduction begins.

    Attributes:
        runs: how many there will be, trials among them.
        finished: of these.
        seconds: of what is left, with one process.
        bytes: that it will write.

    """

    runs: int
    finished: int
    seconds: float
    bytes: int


class Watcher(Protocol):
    """What is told how a reproduction goes."""

    def start(self, estimate: Estimate, jobs: int) -> None:
        """Before the first run."""
        ...

    def advance(self, seconds: float) -> None:
        """So much of the estimated work is done."""
        ...

    def end(self, planned: Planned, score: Score) -> None:
        """A run ended."""
        ...

    def finish(self) -> None:
        """No run follows."""
        ...


class LoadedData:
    """Data with so many words, each read once by ``load``."""

    def __init__(self, options: Options, load: Callable[[Config], FederatedData[Any]] = load_data) -> None:
        self._options, self._load_data = options, load
        self.get = cache(self._load)

    def _load(self, vocabulary: int) -> FederatedData[Any]:
        return self._load_data(self._options.config(vocabulary, FULL, 1.0, 1))


def fitting_vocabularies(
    read: Callable[[int], FederatedData[Any]], asked: tuple[int, ...]
) -> tuple[tuple[int, ...], str]:
    """Vocabularies that the data have words for, and what to tell where some were cut.

    Args:
        read: the data with so many words.
        asked: V of the panels.

    Returns:
        Those that fit; in place of larger ones the number of distinct words of the clients that make the
        vocabulary, rounded down to two digits.

    """
    largest = max(asked)
    try:
        read(largest)
    except TooFewWordsError as error:
        there = error.there
    else:
        return tuple(sorted(set(asked))), ""
    unit = 10 ** max(0, len(str(there)) - 2)
    most = there // unit * unit
    kept = {min(vocabulary, most) for vocabulary in asked}
    return tuple(sorted(kept)), (f"the data have {there:,} distinct words: {most:,} stand for {largest:,}")


def estimate(options: Options, root: Path, data: LoadedData) -> tuple[Estimate, dict[str, float]]:
    """What is to come, and the seconds of each run by folder."""
    planned = foreseen(options, Sizes(data.get, SizeBook(root / SIZES, measured=False, keeps=False)))
    finished = [item for item in planned if gather.seems_finished(root, item)]
    if len(finished) == len(planned):
        return Estimate(len(planned), len(planned), 0.0, 0), {}
    seconds = seconds_by_run(options, planned, data.get)
    left = sum(seconds.values()) - sum(seconds[item.job.folder] for item in finished)
    sizes = {vocabulary: data.get(vocabulary).size for vocabulary in options.vocabularies}
    size = bytes_to_write([item for item in planned if item not in finished], sizes)
    return Estimate(len(planned), len(finished), left, size), seconds


def reproduce(
    options: Options,
    root: Path,
    jobs: int,
    watcher: Watcher,
    data: LoadedData,
    command: str,
    notes: tuple[str, ...] = (),
) -> Reproduction:
    """Run what is missing in the folder ``root``, and gather all.

    Args:
        options: of the reproduction.
        root: its folder.
        jobs: runs at a time.
        watcher: told how it goes.
        data: of the panels.
        command: that made it, for the report.
        notes: for the report.

    Raises:
        HashfedError: for a mistake of the user, a full disk, or a process that was ended from outside.
        Interrupted: where this process was asked to stop; all runs are saved.

    """
    before, seconds = estimate(options, root, data)
    watcher.start(before, jobs)
    sizes = Sizes(data.get, SizeBook(root / SIZES, options.scale.measured_sizes))
    try:
        schedule = Schedule(strands(options, sizes), lambda item: gather.same_outcome(root, item))
        _play(schedule, root, jobs, watcher, seconds)
    except KeyboardInterrupt as stop:
        stopped = Interrupted()
        stopped.signal = int(getattr(stop, "signal", signal.SIGINT))
        raise stopped from None
    finally:
        watcher.finish()
    return replace(_gathered(options, root, schedule.planned, command), notes=notes)


def _play(schedule: Schedule, root: Path, jobs: int, watcher: Watcher, seconds: dict[str, float]) -> None:
    """Until the schedule has nothing left."""
    running: dict[int, tuple[Planned, Callable[[Score], None], int]] = {}
    last: dict[int, object] = {}
    with Pool(jobs, root) as pool:
        while not schedule.done:
            while pool.free and (item := schedule.take(last.get(pool.free[0]))) is not None:
                place = pool.begin(item[0].job)
                running[place], last[place] = (*item, 0), item[0].job.data
            news = pool.wait()
            planned, tell, rounds = running[news.place]
            each = seconds.get(planned.job.folder, 0.0) / planned.job.config.rounds
            if news.kind == worker.ROUND:
                watcher.advance(each * (news.value - rounds))
                running[news.place] = planned, tell, news.value
                continue
            del running[news.place]
            if news.kind == worker.STOPPED:
                raise HashfedError(
                    f"{root / planned.job.folder}: its process was asked to stop by somebody else"
                )
            watcher.advance(each * (planned.job.config.rounds - rounds))
            score = _score(root, planned, news.kind, news.value)
            watcher.end(planned, score)
            tell(score)


def _score(root: Path, planned: Planned, kind: str, value: object) -> Score:
    if kind == worker.FAILED:
        gather.keep_failure(root, planned.job, str(value))
        return FAILED
    score = gather.outcome(root, planned)
    if score is None:
        raise RuntimeError(f"{planned.job.folder}: a run that was reported as done is not finished")
    return score


def _gathered(options: Options, root: Path, planned: list[Planned], command: str) -> Reproduction:
    config = options.config(options.vocabularies[0], FULL, 1.0, options.scale.rounds)
    return Reproduction(
        experiments=options.experiments,
        scale=options.scale_name,
        data=Path(config.data.source).absolute().name,
        vocabularies=options.vocabularies,
        methods=options.methods,
        runs=gather.run_rows(root, planned),
        trials=gather.trial_rows(root, planned),
        parameters=parameter_table(config, options.vocabularies) if "table1" in options.experiments else (),
        floors=gather.floors(root, planned),
        choices=open_choices(options),
        settings=_settings(options, config),
        command=command,
        environment=environment(options.device),
        seconds=gather.seconds(root, planned),
    )


def _settings(options: Options, config: Config) -> dict[str, str]:
    """Of the scale, in words."""
    scale = options.scale
    return {
        "clients per round": f"{scale.cohort}",
        "rounds": f"{scale.rounds:,}",
        "sentences per client and round": f"at most {scale.sentences}",
        "words per sentence": f"{NextWordSettings.of(config.data).sentence_length}",
        "seeds": ", ".join(map(str, range(scale.seeds))),
        "trials per method and vocabulary": f"{scale.trials} of {scale.trial_rounds} rounds",
    }


def environment(device: str) -> dict[str, str]:
    """Versions, and the machine."""
    # Table 1 alone trains nothing, and can be had without the device.
    on_gpu = device == "cuda" and torch.cuda.is_available()
    name = torch.cuda.get_device_name() if on_gpu else processor()
    return {
        "hashfed": __version__,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "system": f"{platform.system()} {platform.machine()}",
        "processor": name,
    }
