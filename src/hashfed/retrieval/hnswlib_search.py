"""Nearest rows found by hnswlib: a graph of small worlds (Malkov & Yashunin 2018).

Like ``exact``, the clients send their queries. The graph is built in one thread from the run's seed, so
that the same rows give the same graph.
"""

from typing import Any, Literal

import numpy as np
import torch
from pydantic import Field

from hashfed.errors import HashfedError
from hashfed.randomness import stream
from hashfed.retrieval.neighbors import NeighborIndex, NeighborSettings


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


class HnswlibSettings(NeighborSettings):
    """The same mass, over the nearest rows that hnswlib finds."""

    method: Literal["hnswlib"] = "hnswlib"
    hnsw_m: int = Field(16, ge=2, le=256)
    """Links per row of the graph."""
    hnsw_ef: int = Field(200, ge=1, le=10000)
    """Rows looked at when a link or a neighbor is chosen."""

    def build(self, rows: torch.Tensor, prior: np.ndarray, seed: int) -> NeighborIndex:
        """A graph over ``rows`` (n, d).

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
        neighbors = min(self.neighbors, size)
        graph = hnswlib.Index(space="ip", dim=dimension)
        graph.init_index(
            size,
            M=self.hnsw_m,
            ef_construction=self.hnsw_ef,
            random_seed=int(stream(seed, "hnswlib").integers(2**31 - 1)),
        )
        graph.add_items(rows.numpy(), np.arange(size), num_threads=1)
        graph.set_ef(max(self.hnsw_ef, neighbors))
        return NeighborIndex(rows, neighbors, HnswSearcher(graph, neighbors), prior, self.prior_strength)
