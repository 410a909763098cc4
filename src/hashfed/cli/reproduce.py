"""``hashfed reproduce figure1 | table1 | table2 | all``."""

import argparse
import fcntl
import shlex
import shutil
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from tqdm import tqdm

from hashfed.cli.arguments import Parser, add_group, overrides, path, whole
from hashfed.cli.budgets import budget, check_budgets
from hashfed.cli.command import Command
from hashfed.cli.reading import load_shown
from hashfed.cli.streams import say
from hashfed.config import load_config
from hashfed.errors import HashfedError
from hashfed.hardware import show_bytes, usable_cores
from hashfed.reproduction.buckets import BucketSettings, find_buckets, read_rows
from hashfed.reproduction.methods import METHODS
from hashfed.reproduction.options import (
    EXPERIMENTS,
    TABLE2_BUDGETS,
    Options,
    check_names,
    scale_named,
)
from hashfed.reproduction.plan import Planned
from hashfed.reproduction.report import print_reproduction, require_reproduction_report, write_reports
from hashfed.reproduction.report.buckets_page import write_buckets_page
from hashfed.reproduction.results import FULL, Reproduction
from hashfed.reproduction.run import (
    Estimate,
    LoadedData,
    estimate,
    fitting_vocabularies,
)
from hashfed.reproduction.run import (
    reproduce as run_reproduction,
)
from hashfed.reproduction.scales import SCALES
from hashfed.reproduction.tuning import FAILED, Score
from hashfed.runs.folder import RunFolder
from hashfed.tasks.next_word.task import NextWordSettings

MOST_JOBS_ON_A_GPU = 4
"""By default: more processes share one GPU without gain."""
BUCKETS_PAGE = "buckets.html"
_UNUSED: dict[str, Any] = {
    **dict.fromkeys(("methods", "budgets", "seeds", "rounds", "trials", "jobs")),
    **{"device": "cpu", "dry_run": False},
}
"""Options that not every experiment has, as if they were not given."""


def add_reproduce(parser: Parser, experiment: str) -> None:
    """The arguments of the command, those that the experiment has a use for."""
    parser.set_defaults(**_UNUSED)
    parser.add_argument(
        "--scale",
        default="small",
        metavar="SCALE",
        help=f"{', '.join(SCALES)}: how large and how long [default %(default)s]",
    )
    parser.add_argument(
        "--vocabularies",
        type=whole,
        nargs="+",
        metavar="V",
        help="words of each panel, cut to those that the data have [default the scale's]",
    )
    parser.add_argument(
        "--output",
        type=path,
        metavar="FOLDER",
        help="of all runs and of the report [default runs/reproduction-SCALE]",
    )
    if experiment == "table1":  # trains nothing
        return
    parser.add_argument(
        "--methods",
        nargs="+",
        metavar="METHOD",
        help=f"of {', '.join(_methods(experiment))} [default all]; full always is",
    )
    if experiment != "table2":  # has its own
        parser.add_argument(
            "--budgets",
            type=budget,
            nargs="+",
            metavar="B",
            help="of figure 1: fractions of the rows, or such as own+1%% [default the scale's]",
        )
    numbers = {
        "seeds": "runs of each point",
        "rounds": "of each run",
        "trials": "of settings, for each method and vocabulary",
    }
    for name, text in numbers.items():
        parser.add_argument(f"--{name}", type=whole, metavar="N", help=f"{text} [default the scale's]")
    parser.add_argument("--jobs", type=whole, metavar="N", help="runs at a time [default one per core]")
    parser.add_argument("--device", default="cpu", metavar="DEVICE", help="cpu or cuda [default %(default)s]")
    parser.add_argument("--dry-run", action="store_true", help="only say how long it would take")
    add_group(parser, "data", NextWordSettings, besides=("task", "vocabulary"))


def reproduce(arguments: argparse.Namespace) -> None:
    """Run what is missing, and write the report."""
    options = read_options(arguments)
    root: Path = arguments.output or Path("runs") / f"reproduction-{arguments.scale}"
    jobs = _jobs(arguments.jobs, options.device)
    require_reproduction_report()
    data, notes = LoadedData(options, load_shown), tuple[str, ...]()
    if options.needs_runs():
        kept, told = fitting_vocabularies(data.get, options.vocabularies)
        options = replace(options, vocabularies=kept)
        if told:
            say(f"hashfed: {told}")
            notes = (told,)
    if arguments.dry_run:
        _foretell(estimate(options, root, data)[0], root, jobs)
        return
    with _taken(root):
        found = run_reproduction(options, root, jobs, _Bar(root), data, _command(), notes)
        if "buckets" in options.experiments:
            found = replace(found, buckets=_buckets(found, root))
        written = write_reports(found, root)
    print_reproduction(found, sys.stdout)
    page = next(file for file in written if file.suffix == ".html")
    print(f"\npage: {page}")


def read_options(arguments: argparse.Namespace) -> Options:
    """What is asked for.

    Raises:
        HashfedError: naming an option, its value and what is allowed.

    """
    scale = scale_named(arguments.scale)
    known = _methods(arguments.experiment)
    methods = tuple(arguments.methods or known)
    check_names("methods", methods, known)
    if FULL not in methods:
        methods = (FULL, *methods)
    if arguments.budgets:
        check_budgets(arguments.budgets)
        scale = replace(scale, budgets=tuple(arguments.budgets))
    for name in ("seeds", "rounds", "trials"):
        value = getattr(arguments, name)
        if value is not None and value < 1:
            raise HashfedError(f"--{name} = {value}: must be at least 1")
        if value is not None:
            scale = replace(scale, **{name: value})
    vocabularies = tuple(arguments.vocabularies or scale.vocabularies)
    experiments = EXPERIMENTS if arguments.experiment == "all" else (arguments.experiment,)
    return Options(
        experiments=experiments,
        scale_name=arguments.scale,
        scale=scale,
        vocabularies=tuple(sorted(set(vocabularies))),
        methods=tuple(sorted(methods, key=list(METHODS).index)),
        data=_data(arguments),
        device=arguments.device,
    )


def _methods(experiment: str) -> tuple[str, ...]:
    """Those that an experiment can compare."""
    return tuple(TABLE2_BUDGETS) if experiment == "table2" else tuple(METHODS)


def _data(arguments: argparse.Namespace) -> dict[str, Any]:
    """The settings of the data that were given, checked."""
    given = {name: text for name, text in overrides(arguments).items() if name.startswith("data.")}
    data = load_config(None, given).data
    return {name: getattr(data, name.removeprefix("data.")) for name in given}


def _jobs(asked: int | None, device: str) -> int:
    if asked is not None:
        if asked < 1:
            raise HashfedError(f"--jobs = {asked}: must be at least 1")
        return asked
    cores = usable_cores()
    return min(cores, MOST_JOBS_ON_A_GPU) if device == "cuda" else cores


@contextmanager
def _taken(root: Path) -> Iterator[None]:
    """The folder of the reproduction, which is none of a run, for this process alone.

    Two processes would otherwise meet at a run sooner or later, and end each other there.
    """
    with ExitStack() as held:
        try:
            if (root / "config.yaml").exists():
                raise HashfedError(f"--output = {root}: the folder of a run; choose another")
            root.mkdir(parents=True, exist_ok=True)
            lock = held.enter_context((root / ".lock").open("wb"))
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise HashfedError(
                f"--output = {root}: another process is working on this reproduction"
            ) from None
        except OSError as error:
            raise HashfedError(f"--output = {root}: {error.strerror or error}") from None
        yield


def _command() -> str:
    return shlex.join(["hashfed", *sys.argv[1:]])


def _buckets(found: Reproduction, root: Path) -> str:
    """The page with buckets of the first full run, relative to ``root``; empty where there is none."""
    first = next((row for row in found.runs if row.method == FULL and not row.failed), None)
    if first is None:
        return ""
    rows, vocabulary = read_rows(RunFolder(root / first.folder))
    buckets = find_buckets(rows, vocabulary, BucketSettings())
    write_buckets_page(buckets, rows, Path(first.folder).name, root / BUCKETS_PAGE)
    return BUCKETS_PAGE


class _Bar:
    """A bar with the time left, and a line for each run that ended; without a terminal the lines alone."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._bar: tqdm[Any] | None = None
        self._ended = self._runs = 0

    def start(self, estimate: Estimate, jobs: int) -> None:
        """Say what is to come."""
        self._ended, self._runs = estimate.finished, estimate.runs
        if estimate.finished < estimate.runs:
            _foretell(estimate, self._root, jobs)
        self._bar = tqdm(
            total=estimate.seconds,
            bar_format="{percentage:3.0f}%|{bar}| {desc} [{elapsed}<{remaining}]",
            disable=None,
            dynamic_ncols=True,
        )
        self._describe()

    def advance(self, seconds: float) -> None:
        """Move the bar."""
        if self._bar is not None:
            self._bar.update(seconds)

    def end(self, planned: Planned, score: Score) -> None:
        """A line with the run's result."""
        self._ended += 1
        result = "failed" if score == FAILED else f"accuracy {score.accuracy:.2%}, nll {score.nll:.3f}"
        tqdm.write(f"{planned.job.folder}: {result}", file=sys.stderr)
        self._describe()

    def finish(self) -> None:
        """Leave the line as it is."""
        if self._bar is not None:
            self._bar.close()

    def _describe(self) -> None:
        if self._bar is not None:
            self._bar.set_description_str(f"{self._ended} of {self._runs} runs")


def _foretell(estimate: Estimate, root: Path, jobs: int) -> None:
    """Say what is to come.

    Raises:
        HashfedError: where the disk has too little room for it.

    """
    left = estimate.runs - estimate.finished
    if not left:
        say(f"{root}: {estimate.runs} runs and trials, all finished")
        return
    there = f", {estimate.finished} of them finished" if estimate.finished else ""
    free = shutil.disk_usage(_existing(root)).free
    say(
        f"{root}: {estimate.runs} runs and trials{there}; about "
        f"{duration(estimate.seconds / min(jobs, left))} with {jobs} at a time, and about "
        f"{show_bytes(estimate.bytes)} on disk ({show_bytes(free)} are free)"
    )
    if estimate.bytes > free:
        raise HashfedError(
            f"--output = {root}: the disk has too little room: about "
            f"{show_bytes(estimate.bytes)} are needed, {show_bytes(free)} are free"
        )


def duration(seconds: float) -> str:
    """Such as ``40 s``, ``12 min`` or ``3 h 5 min``."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60} min"


def _existing(path: Path) -> Path:
    """The path, or the nearest folder above it that exists."""
    path = path.absolute()
    while not path.exists():
        path = path.parent
    return path


_TEXTS = {
    "figure1": (
        "accuracy against computed output parameters, of every method",
        "Train every method at every budget with several seeds, after tuning each on validation clients; the "
        "paper's figure 1, and the smallest budget with which each method is as good as full training.",
    ),
    "table1": ("sizes of the model", "Count the parameters of the model beside the paper's numbers."),
    "table2": (
        "the best model within a device's parameters and memory",
        "Train the largest models that fit in the parameters, and in the memory, of the full one, with some "
        "of the rows.",
    ),
    "all": ("all of these and buckets", "Reproduce figure 1, tables 1 and 2, and sample buckets."),
}


def _of(experiment: str) -> Command:
    """The command of one experiment, or of all."""
    help, description = _TEXTS[experiment]

    def add(parser: Parser) -> None:
        add_reproduce(parser, experiment)
        parser.set_defaults(experiment=experiment)

    return Command(
        name=f"reproduce {experiment}",
        help=help,
        description=f"{description} The runs are ordinary run folders below --output; the same command goes "
        "on where it was stopped, and makes no finished run again.",
        run=reproduce,
        add=add,
    )


REPRODUCE = tuple(_of(name) for name in _TEXTS)
