"""The best that any index could do: score all rows against the queries themselves.

Clients send their queries, which is more traffic and far more private than bucket numbers: a yardstick,
not a method to deploy.
"""

from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np
import torch

from hashfed.errors import HashfedError
from hashfed.retrieval.evidence import softmax_mass
from hashfed.retrieval.protocol import Candidates, Keys
from hashfed.retrieval.settings import RetrievalSettings


@dataclass(frozen=True)
class ExactEncoder:
    """Sends the queries as they are."""

    kind: ClassVar[str] = "exact"

    def encode(self, queries: torch.Tensor) -> Keys:
        """``queries`` (count, d) float32."""
        return {"queries": queries.numpy()}

    def numbers(self) -> dict[str, int]:
        """No parameters."""
        return {}

    def arrays(self) -> dict[str, np.ndarray]:
        """No parameters."""
        return {}

    def flops(self, count: int) -> int:
        """None."""
        return 0

    def most_keys(self, count: int) -> int:
        """One for each query."""
        return count


@dataclass(frozen=True)
class ExactIndex:
    """Scores = the softmax mass that falls on a row, summed over the client's queries."""

    rows: torch.Tensor
    encoder: ExactEncoder = field(default_factory=ExactEncoder)

    @classmethod
    def build(
        cls, rows: torch.Tensor, settings: RetrievalSettings, prior: np.ndarray, seed: int
    ) -> "ExactIndex":
        """Keeps ``rows`` (n, d) by reference."""
        return cls(rows)

    def lookup(self, keys: Keys) -> Candidates:
        """All rows with their expected mass: the optimum for coverage of the softmax mass."""
        queries = check_queries(keys, self.rows.shape[1])
        return Candidates.positive(softmax_mass(self.rows, queries))

    def queries(self, keys: Keys) -> tuple[torch.Tensor, None]:
        """The queries themselves."""
        return check_queries(keys, self.rows.shape[1]), None


def check_queries(keys: Keys, dimension: int) -> torch.Tensor:
    """The queries (count, d) float32 of ``keys``, none or more.

    Raises:
        HashfedError: that says what is wrong with them.

    """
    if set(keys) != {"queries"} or keys["queries"].ndim != 2:
        raise HashfedError(f"keys {sorted(keys)}: this index needs 'queries' of shape (count, d)")
    queries = keys["queries"]
    if queries.dtype != np.float32:
        raise HashfedError(f"queries of type {queries.dtype}: must be float32")
    if queries.shape[1] != dimension:
        raise HashfedError(
            f"queries of length {queries.shape[1]}: the rows of this index have length {dimension}"
        )
    return torch.from_numpy(queries)
