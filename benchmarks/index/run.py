"""The whole benchmark: output layers × seeds × indexes, as one JSON-ready result."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from benchmarks.index.measure import measure_index, measure_truth, optimum
from benchmarks.index.problem import Problem, run_problem, synthetic_problem
from benchmarks.index.public_layers import glove_problem, smollm2_problem
from benchmarks.index.variants import VARIANTS, fitted
from hashfed.engines.single_thread import single_thread
from hashfed.errors import HashfedError
from hashfed.files import with_home

SYNTHETIC_ROWS, SYNTHETIC_DIMENSION = 1_000_000, 64
LAYERS: dict[str, Callable[[int, int], Problem]] = {
    "smollm2": smollm2_problem,
    "glove": glove_problem,
    "synthetic": lambda clients, seed: synthetic_problem(SYNTHETIC_ROWS, SYNTHETIC_DIMENSION, clients, seed),
}
"""Output layers by name: functions of the number of clients and the seed."""
OPTIMUM = "optimum"
"""The name under which a result holds the rows with the most expected mass."""


def make_problem(target: str, clients: int, seed: int) -> Problem:
    """One of ``LAYERS``, or the folder of a trained run; of several folders joined by commas the seed's.

    Raises:
        HashfedError: where it is neither, or cannot be loaded.

    """
    if target in LAYERS:
        return LAYERS[target](clients, seed)
    folders = target.split(",")
    folder = Path(with_home(folders[seed % len(folders)]))
    try:
        found = (folder / "config.yaml").is_file()
    except OSError:
        found = False
    if not found:
        raise HashfedError(f"LAYER = {folder}: neither the folder of a run, nor one of: {', '.join(LAYERS)}")
    return run_problem(folder, clients, seed)


def check_variants(names: Sequence[str] | None) -> list[str]:
    """The names of the indexes to measure, all where none is given.

    Raises:
        HashfedError: for an unknown name.

    """
    for name in names or []:
        if name not in VARIANTS:
            raise HashfedError(f"--indexes {name!r}: must be one of: {'; '.join(VARIANTS)}")
    return list(names or VARIANTS)


def bench_target(
    target: str,
    names: Sequence[str],
    budgets: Sequence[float],
    clients: int,
    seeds: int,
) -> Iterator[tuple[str, int, dict[str, Any]]]:
    """Measure on one output layer, one thread, yielding (index, seed, ``measure_index``'s result).

    A seed draws the clients and the hash functions. First come ``"layer"`` (name and sizes) and ``OPTIMUM``
    of every seed. An index that cannot be built, for its package is missing or the layer too
    small, yields ``{"skipped": reason}``.
    """
    with single_thread():
        for seed in range(seeds):
            problem = make_problem(target, clients, seed)
            truth = measure_truth(problem)
            yield "layer", seed, {"name": problem.name, "rows": len(problem.rows), "d": problem.rows.shape[1]}
            yield OPTIMUM, seed, optimum(problem, truth, budgets)
            for name in names:
                settings = fitted(VARIANTS[name], problem.rows.shape[1])
                try:
                    yield name, seed, measure_index(problem, truth, settings, budgets, seed)
                except HashfedError as error:
                    yield name, seed, {"skipped": str(error)}
