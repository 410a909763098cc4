"""How long the server's side of each method takes, beside what the arithmetic alone would take.

Rows are random: no time depends on what they hold, but for how evenly the buckets fill. Seconds are of the
processor, in one thread; candidates take turns, so that a busy moment of the machine hits all of them.
"""

import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

import numpy as np
import torch

from hashfed.engines.single_thread import single_thread
from hashfed.errors import HashfedError
from hashfed.hashing.simhash import CHUNK
from hashfed.randomness import stream
from hashfed.retrieval import (
    Index,
    Keys,
    RetrievalSettings,
    budget_rows,
    build_index,
    retrieval_settings,
    sample,
)
from hashfed.retrieval.exact import ExactSettings
from hashfed.retrieval.query_centroids import QueryCentroidsSettings
from hashfed.retrieval.simhash_index import SimHashIndex, SimHashSettings

Answer = TypeVar("Answer")

SPEED_METHODS: dict[str, RetrievalSettings] = {
    "simhash-union": retrieval_settings("simhash-union", bits=8, tables=8, transform="none"),
    "simhash-collisions": retrieval_settings("simhash-collisions", bits=8, tables=64),
    "simhash-collisions-L8": retrieval_settings("simhash-collisions", bits=8, tables=8),
    "query-centroids": retrieval_settings("query-centroids"),
    "exact": retrieval_settings("exact"),
    "faiss": retrieval_settings("faiss"),
    "hnswlib": retrieval_settings("hnswlib"),
}
"""By name; for the paper's method its K, L and uncentred rows, for the others the defaults."""
USUAL = ("simhash-union", "simhash-collisions-L8", "simhash-collisions", "query-centroids", "exact")
"""Measured where no method is named; the others need a package, and minutes for a million rows."""
QUERIES, OWN, CHANGED, BUDGET, TAIL = 320, 500, 0.01, 0.1, 0.1
"""Of a client: queries, own rows at most; share of the rows that a refresh follows; of the selection."""
STEPS = ("build", "tables", "refresh", "lookup", "select", "hash_floor", "lookup_floor")
"""What is timed; ``tables`` is a part of ``build``."""


@dataclass
class Candidate:
    """One method over one set of rows, and the seconds of its steps.

    Attributes:
        settings: of the index.
        keys: of the client, made at the first build.
        seconds: by step.

    """

    settings: RetrievalSettings
    keys: Keys | None = None
    seconds: dict[str, list[float]] = field(default_factory=dict)

    def note(self, step: str, seconds: float) -> None:
        """Add a measurement."""
        self.seconds.setdefault(step, []).append(seconds)

    def timed(self, step: str, work: Callable[..., Answer], *arguments: Any) -> Answer:
        """The answer of ``work`` to the arguments; its seconds are noted."""
        start = time.process_time()
        found = work(*arguments)
        self.note(step, time.process_time() - start)
        return found

    def result(self) -> dict[str, list[float]]:
        """Median, least and most of each step that it has."""
        return {f"{step}_seconds": _summary(self.seconds[step]) for step in STEPS if step in self.seconds}


def check_speed(methods: Sequence[str] | None, sizes: Sequence[int], width: int, repeats: int) -> list[str]:
    """The methods to measure.

    Raises:
        HashfedError: for an unknown method, no rows or no width, or no repeats.

    """
    for name in methods or ():
        if name not in SPEED_METHODS:
            raise HashfedError(f"--methods {name!r}: must be one of: {', '.join(SPEED_METHODS)}")
    for option, value in (("rows", min(sizes)), ("width", width), ("repeats", repeats)):
        if value < 1:
            raise HashfedError(f"--{option} = {value}: must be at least 1")
    return list(dict.fromkeys(methods or USUAL))


def measure_speed(
    size: int,
    width: int,
    names: Sequence[str],
    repeats: int,
    progress: Callable[[str], None] = lambda name: None,
) -> dict[str, Any]:
    """Seconds of each method at ``size`` rows of length ``width``.

    Args:
        size: n.
        width: d.
        names: of ``SPEED_METHODS``.
        repeats: measurements per step, after one that warms up.
        progress: told the name of each method that was measured once more.

    Returns:
        ``rows``, ``width``, ``repeats``, ``queries``, ``budget``, ``changed``, ``threads``,
        ``memory_pass_seconds`` (to read all rows once), and ``methods``: by name ``STEP_seconds`` for each
        of ``STEPS`` that it has, as ``[median, least, most]``. ``build`` is until the lists of the buckets
        are there, which the index makes only for lookups that need them; ``tables`` is their part.
        ``refresh`` follows a change of 1% of the rows, by building anew where the method cannot but do so.
        The floors are bare matrix products: rows × K·L projections, and rows × the queries that a lookup
        scores (SimHash scores none).

    Raises:
        HashfedError: where a method needs a package that is missing.

    """
    rng = stream(0, "speed")
    rows = torch.from_numpy(rng.standard_normal((size, width), dtype=np.float32)).mul_(1 / width**0.5)
    prior = 1e6 / (1.0 + rng.permutation(size))
    queries = torch.from_numpy(2 * rng.standard_normal((QUERIES, width), dtype=np.float32))
    own = np.sort(rng.choice(size, min(OWN, max(1, size // 20)), replace=False))
    candidates = {name: Candidate(SPEED_METHODS[name]) for name in names}
    passes = Candidate(retrieval_settings())
    with single_thread():
        for turn in range(repeats + 1):
            passes.timed("memory_pass", rows.sum)
            for name, candidate in candidates.items():
                _measure(candidate, rows, prior, queries, own, turn)
                progress(name)
            if turn == 0:  # the first warms up
                for candidate in (passes, *candidates.values()):
                    candidate.seconds.clear()
    return {
        "rows": size,
        "width": width,
        "repeats": repeats,
        "queries": QUERIES,
        "budget": BUDGET,
        "changed": CHANGED,
        "threads": 1,
        "memory_pass_seconds": _summary(passes.seconds["memory_pass"]),
        "methods": {name: candidate.result() for name, candidate in candidates.items()},
    }


def _measure(
    candidate: Candidate,
    rows: torch.Tensor,
    prior: np.ndarray,
    queries: torch.Tensor,
    own: np.ndarray,
    turn: int,
) -> None:
    """Time every step of one candidate once; ``rows`` change a little."""
    size, settings = len(rows), candidate.settings
    index = _build(candidate, rows, prior)
    if candidate.keys is None:
        candidate.keys = index.encoder.encode(queries)
    keys = candidate.keys
    rng = stream(0, "speed turn", turn)
    ids = np.sort(rng.choice(size, max(1, round(CHANGED * size)), replace=False))
    noise = 0.1 * rng.standard_normal((len(ids), rows.shape[1]), dtype=np.float32) / rows.shape[1] ** 0.5
    rows[torch.from_numpy(ids)] += torch.from_numpy(noise)
    if isinstance(index, SimHashIndex):
        index = candidate.timed("refresh", index.refresh, rows, ids, prior)
    else:
        index = candidate.timed("refresh", build_index, rows, settings, prior, 0)
    found = candidate.timed("lookup", index.lookup, keys)
    candidate.timed("select", sample, own, found, size, budget_rows(BUDGET, size), TAIL, True, rng)
    for step, directions in _floors(settings, rows.shape[1]):
        # As many products at a time as fit in the cache, as the hashing itself does.
        step_rows = min(CHUNK, max(128, (1 << 18) // directions.shape[1]))
        out = torch.empty(step_rows, directions.shape[1])
        candidate.timed(step, _products, rows, directions, out)


def _build(candidate: Candidate, rows: torch.Tensor, prior: np.ndarray) -> Index:
    """The index, with lists of its buckets if it has any."""
    start = time.process_time()
    index = build_index(rows, candidate.settings, prior, 0)
    hashed = time.process_time()
    if isinstance(index, SimHashIndex):
        len(index.tables.members)  # made when asked for
        candidate.note("tables", time.process_time() - hashed)
    candidate.note("build", time.process_time() - start)
    return index


def _floors(settings: RetrievalSettings, width: int) -> Iterator[tuple[str, torch.Tensor]]:
    """Directions (d, count) by which rows must be multiplied: to hash them, and to answer a lookup."""
    if isinstance(settings, SimHashSettings):
        yield "hash_floor", torch.ones(width, settings.bits * settings.tables)
    elif isinstance(settings, QueryCentroidsSettings):
        yield "lookup_floor", torch.ones(width, settings.centroids)
    elif isinstance(settings, ExactSettings):
        yield "lookup_floor", torch.ones(width, QUERIES)


def _products(rows: torch.Tensor, directions: torch.Tensor, out: torch.Tensor) -> None:
    """Products of ``rows`` (n, d) with ``directions`` (d, count), into ``out`` again and again."""
    for part in rows.split(len(out)):
        torch.mm(part, directions, out=out[: len(part)])


def _summary(seconds: Sequence[float]) -> list[float]:
    """Median, least and most."""
    return [statistics.median(seconds), min(seconds), max(seconds)]
