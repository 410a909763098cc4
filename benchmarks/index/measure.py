"""Quality and cost of one index on one problem."""

import dataclasses
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch

from benchmarks.index.problem import Problem
from hashfed.randomness import stream
from hashfed.retrieval import (
    Index,
    RetrievalSettings,
    budget_rows,
    build_index,
    make_encoder,
    select,
)
from hashfed.retrieval.evidence import softmax_mass

NEIGHBORS = 100
"""Recall is of the rows with this many largest inner products of a query."""
TOUCHED = 0.01
"""Share of the rows that a refresh is timed with."""
NOT_MEASURED = frozenset({"rows", "prior", "counts"})
"""Fields of an index that the server holds anyway."""


@dataclasses.dataclass(frozen=True)
class Truth:
    """What can be known of one client by looking at all rows.

    Attributes:
        mass: (n,) float64, the mean of its queries' softmax.
        nearest: (q, k) int64, each query's rows with the largest inner products.

    """

    mass: np.ndarray
    nearest: np.ndarray


def measure_truth(problem: Problem) -> list[Truth]:
    """The truth of every client."""
    found = []
    for client in problem.clients:
        mass = softmax_mass(problem.rows, client.queries) / len(client.queries)
        count = min(NEIGHBORS, len(problem.rows))
        parts = [
            (part @ problem.rows.T).topk(count, sorted=False).indices for part in client.queries.split(32)
        ]
        found.append(Truth(mass, torch.cat(parts).numpy()))
    return found


def optimum(problem: Problem, truth: Sequence[Truth], budgets: Sequence[float]) -> dict[str, list[float]]:
    """Coverage and recall of the rows with the most expected mass, as ``measure_index`` gives them."""
    chosen = [
        [best_rows(client.own, own.mass, budget) for client, own in zip(problem.clients, truth, strict=True)]
        for budget in budgets
    ]
    return _quality(chosen, truth)


def measure_index(
    problem: Problem,
    truth: Sequence[Truth],
    settings: RetrievalSettings,
    budgets: Sequence[float],
    seed: int,
) -> dict[str, Any]:
    """Coverage, recall, seconds and bytes of the index with these settings.

    Seconds are of the processor, in one thread: other work on the machine hardly changes them.

    The selection is the client's own rows and the best candidates, padded at random: no uniform tail.

    Args:
        problem: rows and clients.
        truth: of each client.
        settings: of the index.
        budgets: fractions of the rows.
        seed: of the index and of random choices.

    Returns:
        ``coverage`` and ``recall``, means over clients for each budget; seconds to ``build``, to
        ``refresh`` after 1% of the rows changed (by a rebuild where it must), and the medians over
        clients to ``encode`` and ``lookup``; ``encoder_bytes``, ``key_bytes`` (mean) and ``index_bytes``.

    """
    size = len(problem.rows)
    start = time.process_time()
    index = build_index(problem.rows, settings, problem.prior, seed)
    build = time.process_time() - start
    encoder = index.encoder
    client_encoder = make_encoder(encoder.kind, {**encoder.numbers(), **encoder.arrays()})
    encode, lookup, key_bytes = [], [], []
    chosen: list[list[np.ndarray]] = [[] for _ in budgets]
    for position, client in enumerate(problem.clients):
        start = time.process_time()
        keys = client_encoder.encode(client.queries)
        encoded = time.process_time()
        candidates = index.lookup(keys)
        lookup.append(time.process_time() - encoded)
        encode.append(encoded - start)
        key_bytes.append(array_bytes(keys))
        for which, budget in enumerate(budgets):
            rng = stream(seed, "bench select", which, str(position))
            rows = budget_rows(budget, size)
            selection = select(client.own, candidates, size, rows, 0.0, False, rng)
            chosen[which].append(selection.ids)
    refresh = _refresh_seconds(problem, index, seed)
    return _quality(chosen, truth) | {
        "build_seconds": build,
        "refresh_seconds": build if refresh is None else refresh,
        "encode_seconds": float(np.median(encode)),
        "lookup_seconds": float(np.median(lookup)),
        "encoder_bytes": array_bytes(encoder.arrays()) + 8 * len(encoder.numbers()),
        "key_bytes": float(np.mean(key_bytes)),
        "index_bytes": index_bytes(index),
    }


def _refresh_seconds(problem: Problem, index: Index, seed: int) -> float | None:
    """Seconds to follow a change of 1% of the rows; None where the index cannot but be rebuilt."""
    refresh: Callable[..., Index] | None = getattr(index, "refresh", None)
    if refresh is None:
        return None
    size = len(problem.rows)
    count = max(1, round(TOUCHED * size))
    ids = np.sort(stream(seed, "bench refresh").choice(size, count, replace=False))
    start = time.process_time()
    refresh(problem.rows, ids)
    return time.process_time() - start


def best_rows(own: np.ndarray, mass: np.ndarray, budget: float) -> np.ndarray:
    """Own rows and those with the most mass, up to the budget."""
    score = mass.copy()
    score[own] = np.inf
    count = max(len(own), budget_rows(budget, len(mass)))
    return np.argsort(-score, kind="stable")[:count]


def _quality(chosen: Sequence[Sequence[np.ndarray]], truth: Sequence[Truth]) -> dict[str, list[float]]:
    """Mean coverage and recall over clients, for each budget."""
    coverage, recall = [], []
    for selections in chosen:
        covered, found = [], []
        for ids, own in zip(selections, truth, strict=True):
            held = np.zeros(len(own.mass), bool)
            held[ids] = True
            covered.append(own.mass[held].sum())
            found.append(held[own.nearest].mean())
        coverage.append(float(np.mean(covered)))
        recall.append(float(np.mean(found)))
    return {"coverage": coverage, "recall": recall}


def array_bytes(arrays: Mapping[str, np.ndarray]) -> int:
    """Bytes of the arrays of an encoder or of keys, without headers."""
    return sum(value.nbytes for value in arrays.values())


def index_bytes(index: Any) -> int:
    """Bytes that an index keeps beside the rows and the public counts."""
    if isinstance(index, np.ndarray | torch.Tensor):
        return int(index.nbytes)
    told = getattr(index, "index_bytes", None)
    if told is not None or not dataclasses.is_dataclass(index):
        return int(told or 0)
    fields = [field.name for field in dataclasses.fields(index) if field.name not in NOT_MEASURED]
    return sum(index_bytes(getattr(index, name)) for name in fields)
