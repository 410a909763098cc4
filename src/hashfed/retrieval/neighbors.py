"""From the nearest rows of each query to one score per row: what ``faiss`` and ``hnswlib`` share.

A search returns k rows per query. The softmax is taken over these k alone, so the partition function
lacks all other rows and the mass of the found ones is too large; summed over queries,

    e_i = Σ_q [i found for q] exp(q·w_i) / Σ_{j found for q} exp(q·w_j).

Inner products are computed again from the rows, of which the server has all: what an index compresses
decides only which rows it finds.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np
import torch
from pydantic import Field

from hashfed.errors import ClientDivergedError
from hashfed.retrieval.evidence import with_prior
from hashfed.retrieval.exact import ExactEncoder, check_queries
from hashfed.retrieval.method import SmoothedSettings
from hashfed.retrieval.protocol import Candidates, Encoder, Index, Keys

GATHERED_NUMBERS = 1 << 22
"""Most numbers of found rows held at a time (16 MiB), whatever k and d."""

Search = Callable[[np.ndarray], np.ndarray]
"""From queries (count, d) float32 to row ids (count, k) int64, −1 where fewer than k were found."""


class NeighborSettings(SmoothedSettings):
    """Of both."""

    neighbors: int = Field(100, ge=1)
    """Nearest rows found for each query."""

    encoder: ClassVar[type[Encoder]] = ExactEncoder
    tells_queries: ClassVar[bool] = True


@dataclass(frozen=True)
class NeighborIndex(Index):
    """Scores = softmax mass over each query's nearest rows, plus the prior.

    Attributes:
        rows: (n, d) float32.
        neighbors: k, rows that ``search`` finds for a query.
        search: for them.
        prior: (n,) public counts.
        strength: of the prior.

    """

    rows: torch.Tensor
    neighbors: int
    search: Search
    prior: np.ndarray
    strength: float
    encoder: ExactEncoder = field(default_factory=ExactEncoder)

    def lookup(self, keys: Keys) -> Candidates:
        """The rows that are near a query, and those that the prior knows."""
        mass = neighbor_mass(self.rows, self.queries(keys)[0], self.neighbors, self.search)
        return Candidates.positive(with_prior(mass, self.prior, self.strength))

    def queries(self, keys: Keys) -> tuple[torch.Tensor, None]:
        """The queries themselves."""
        return check_queries(keys, self.rows.shape[1]), None


def neighbor_mass(rows: torch.Tensor, queries: torch.Tensor, neighbors: int, search: Search) -> np.ndarray:
    """The softmax mass of the found rows, summed over queries: (n,) float64.

    Args:
        rows: (n, d) float32.
        queries: (count, d) float32; none give zeros.
        neighbors: k, rows that ``search`` finds for a query.
        search: the index.

    Raises:
        HashfedError: where a query is not finite.

    """
    if not bool(torch.isfinite(queries.sum())):
        raise ClientDivergedError("a client's queries are not finite: the training diverged")
    size, dimension = rows.shape
    mass = np.zeros(size)
    if len(queries) == 0:
        return mass
    for part in queries.split(max(1, GATHERED_NUMBERS // (neighbors * dimension))):
        ids = torch.from_numpy(search(part.numpy()))
        logits = torch.einsum("qd,qkd->qk", part, rows[ids.clamp(min=0)])
        found = ids >= 0
        probabilities = torch.softmax(logits.masked_fill(~found, -torch.inf), dim=1)[found]
        mass += np.bincount(ids[found].numpy(), probabilities.numpy(), minlength=size)
    return mass
