"""Nearest rows found by hnswlib: a graph of small worlds (Malkov & Yashunin 2018).

Like ``exact``, the clients send their queries. The graph is built in one thread from the run's seed, so
that the same rows give the same graph.
"""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from hashfed.errors import HashfedError
from hashfed.randomness import stream
from hashfed.retrieval.evidence import with_prior
from hashfed.retrieval.exact import ExactEncoder, check_queries
from hashfed.retrieval.neighbors import neighbor_mass
from hashfed.retrieval.protocol import Candidates, Keys
from hashfed.retrieval.settings import RetrievalSettings


class HnswSearcher:
    """A graph over rows that answers with ids."""

    def __init__(self, graph: Any, neighbors: int) -> None:
        self._graph, self._neighbors = graph, neighbors

    def __call__(self, queries: np.ndarray) -> np.ndarray:
        """Ids (count, k) int64 of the nearest rows of ``queries`` (count, d) float32, −1 for none.

        hnswlib gives nothing at all where one query reaches fewer than k rows of the graph: it is then
        asked again for half as many.
        """
        ids = np.full((len(queries), self._neighbors), -1, np.int64)
        count = self._neighbors
        while count > 0:
            try:
                found, _ = self._graph.knn_query(queries, count, num_threads=1)
            except RuntimeError:
                count //= 2
            else:
                ids[:, :count] = found
                break
        return ids

    @property
    def index_bytes(self) -> int:
        """Bytes of the graph, with its copy of the rows."""
        return int(self._graph.index_file_size())


@dataclass(frozen=True)
class HnswlibIndex:
    """Scores = softmax mass over each query's nearest rows, plus the prior."""

    rows: torch.Tensor
    neighbors: int
    search: HnswSearcher
    prior: np.ndarray
    strength: float
    encoder: ExactEncoder = field(default_factory=ExactEncoder)

    @classmethod
    def build(
        cls, rows: torch.Tensor, settings: RetrievalSettings, prior: np.ndarray, seed: int
    ) -> "HnswlibIndex":
        """A graph over ``rows`` (n, d) with ``settings.hnsw_m`` links per row.

        Raises:
            HashfedError: where hnswlib is not installed.

        """
        try:
            import hnswlib
        except ImportError:
            raise HashfedError(
                "retrieval.method = hnswlib: needs the package hnswlib (pip install 'hashfed[hnswlib]')"
            ) from None
        size, dimension = rows.shape
        neighbors = min(settings.neighbors, size)
        graph = hnswlib.Index(space="ip", dim=dimension)
        graph.init_index(
            size,
            M=settings.hnsw_m,
            ef_construction=settings.hnsw_ef,
            random_seed=int(stream(seed, "hnswlib").integers(2**31 - 1)),
        )
        graph.add_items(rows.numpy(), np.arange(size), num_threads=1)
        graph.set_ef(max(settings.hnsw_ef, neighbors))
        return cls(rows, neighbors, HnswSearcher(graph, neighbors), prior, settings.prior_strength)

    def lookup(self, keys: Keys) -> Candidates:
        """The rows that are near a query, and those that the prior knows."""
        queries = check_queries(keys, self.rows.shape[1])
        mass = neighbor_mass(self.rows, queries, self.neighbors, self.search)
        return Candidates.positive(with_prior(mass, self.prior, self.strength))

    def queries(self, keys: Keys) -> tuple[torch.Tensor, None]:
        """The queries themselves."""
        return check_queries(keys, self.rows.shape[1]), None
