"""The runs of a reproduction: for each vocabulary and method a strand, its trials first."""

from collections.abc import Callable, Generator
from dataclasses import dataclass, replace
from typing import Any

from hashfed.config import Config
from hashfed.cost.budgets import Budget, OwnAnd, budget_label
from hashfed.reproduction.methods import METHODS
from hashfed.reproduction.options import TABLE2_BUDGETS, Options
from hashfed.reproduction.results import FULL
from hashfed.reproduction.sizes import SizeBook, full_parameters
from hashfed.reproduction.tuning import Point, Score, Space, best_point, next_trials
from hashfed.tasks.federated_data import FederatedData

TRIAL_SEED = 0


def data_key(config: Config) -> object:
    """Runs that are equal in this read the same data."""
    return config.data, config.evaluation.clients


@dataclass(frozen=True)
class Job:
    """A run to make.

    Attributes:
        folder: of the run, relative to the reproduction's.
        config: of the run, without its output.
        measure_memory: whether a client's memory is measured at the end.
        keep_model: whether the trained model stays; trials leave their records only.

    """

    folder: str
    config: Config
    measure_memory: bool = False
    keep_model: bool = True

    @property
    def data(self) -> object:
        """As ``data_key``."""
        return data_key(self.config)


@dataclass(frozen=True)
class Trial:
    """A job that tries settings."""

    job: Job
    vocabulary: int
    method: str
    number: int
    point: Point


@dataclass(frozen=True)
class Run:
    """A job that is a result: the fields are those of ``results.RunRow``."""

    job: Job
    experiments: tuple[str, ...]
    vocabulary: int
    method: str
    budget: str
    seed: int
    capacity: str = ""
    limit: str = ""
    parameters: int | None = None
    """Of table 2: on the device of the client with most data."""


Planned = Trial | Run
Strand = Generator[list[Planned], list[Score], None]
"""Yields what can run now, side by side; is sent how each came out once all are done."""


@dataclass(frozen=True)
class Sizes:
    """Where table 2 gets its models from.

    Attributes:
        data: the data with so many words; asked for when sizes are needed.
        book: of the sizes found.

    """

    data: Callable[[int], FederatedData[Any]]
    book: SizeBook


def strands(options: Options, sizes: Sizes) -> list[Strand]:
    """One for each vocabulary and method."""
    return [_strand(options, *pair, sizes) for pair in _pairs(options)]


def foreseen(options: Options, sizes: Sizes) -> list[Planned]:
    """All runs that there will be, with settings still to be found by trials."""
    found: list[Planned] = []
    for vocabulary, method, experiments in _pairs(options):
        space = _space(options, method)
        point = space.grid[0]
        found += [_trial(options, vocabulary, method, number, point) for number in range(1, space.trials + 1)]
        found += _runs(options, vocabulary, method, experiments, dict(point), sizes)
    return found


def _pairs(options: Options) -> list[tuple[int, str, list[str]]]:
    """Vocabularies and methods, each with the experiments that need it."""
    methods = {
        "figure1": options.methods,
        "table2": tuple(name for name in options.methods if name in TABLE2_BUDGETS),
        "buckets": (FULL,),
    }
    asked = [name for name in methods if name in options.experiments]
    return [
        (vocabulary, method, [name for name in asked if method in methods[name]])
        for vocabulary in options.vocabularies
        for method in dict.fromkeys(method for name in asked for method in methods[name])
    ]


def _space(options: Options, method: str) -> Space:
    return Space.of(METHODS[method], options.scale.grid, options.scale.trials)


def _strand(
    options: Options,
    vocabulary: int,
    method: str,
    experiments: list[str],
    sizes: Sizes,
) -> Strand:
    space = _space(options, method)
    scores: dict[Point, Score] = {}
    while points := next_trials(space, scores):
        made: list[Planned] = [
            _trial(options, vocabulary, method, len(scores) + place, point)
            for place, point in enumerate(points, start=1)
        ]
        found = yield made
        scores |= dict(zip(points, found, strict=True))
    settings = dict(best_point(scores))
    yield list(_runs(options, vocabulary, method, experiments, settings, sizes))


def _trial(options: Options, vocabulary: int, method: str, number: int, point: Point) -> Trial:
    scale = options.scale
    config = options.config(
        vocabulary,
        method,
        scale.trial_budget,
        scale.trial_rounds,
        **dict(point),
        **{"seed": TRIAL_SEED, "evaluation.clients": "validation", "evaluation.every": scale.trial_rounds},
    )
    folder = f"trials/{vocabulary}-words/{method}-{number:02d}"
    return Trial(Job(folder, config, keep_model=False), vocabulary, method, number, point)


def _runs(
    options: Options,
    vocabulary: int,
    method: str,
    experiments: list[str],
    settings: dict[str, Any],
    sizes: Sizes,
) -> list[Run]:
    """The runs with the settings that were chosen; one that two experiments need stands once."""
    scale, found = options.scale, list[Run]()

    def config(budget: Budget) -> Config:
        return options.config(vocabulary, method, budget, scale.rounds, **settings)

    for budget in options.budgets(method) if {"figure1", "buckets"} & set(experiments) else ():
        part_of = tuple(name for name in experiments if name != "table2")
        found += _seeds(
            options, config(budget), Run(_NO_JOB, part_of, vocabulary, method, budget_label(budget), 0)
        )
    if "table2" in experiments:
        budget = TABLE2_BUDGETS[method]
        plain = Run(_NO_JOB, ("table2",), vocabulary, method, budget_label(budget), 0)
        data = sizes.data(vocabulary)
        if method == FULL:
            parameters = full_parameters(config(1.0), data)
            found = _merged(found, _seeds(options, config(1.0), replace(plain, parameters=parameters)))
        else:
            # Rates change no size: sizes of the same method are the same whatever its trials found.
            untuned = options.config(vocabulary, method, budget, scale.rounds)
            for larger in sizes.book.largest(untuned, data, scale.capacities):
                sized = replace(
                    plain, capacity=larger.capacity, limit=larger.limit, parameters=larger.parameters
                )
                found += _seeds(options, config(budget).model_copy(update={"model": larger.model}), sized)
    return found


def _seeds(options: Options, config: Config, run: Run) -> list[Run]:
    """The run with each seed; memory is measured where table 2 needs it, once: all seeds have the same."""
    made = []
    for seed in range(options.scale.seeds):
        parts = [run.method, _in_path(run.budget), run.capacity, run.limit, f"seed{seed}"]
        name = "-".join(part for part in parts if part)
        measure = "table2" in run.experiments and seed == 0
        job = Job(f"runs/{run.vocabulary}-words/{name}", config.model_copy(update={"seed": seed}), measure)
        made.append(replace(run, job=job, seed=seed))
    return made


def _merged(some: list[Run], others: list[Run]) -> list[Run]:
    """Runs of one folder as one run of both experiments."""
    merged = {run.job.folder: run for run in some}
    for run in others:
        there = merged.get(run.job.folder)
        parts = run.experiments if there is None else (*there.experiments, *run.experiments)
        merged[run.job.folder] = replace(run, experiments=parts)
    return list(merged.values())


def _in_path(budget: str) -> str:
    """A budget's label without characters that paths in URLs cannot have."""
    if not budget.endswith("%"):
        return budget
    own, _, share = budget.removesuffix("%").partition("+")
    return f"{own}+{OwnAnd(float(share) / 100).extra:g}"


_NO_JOB = Job("", Config())
