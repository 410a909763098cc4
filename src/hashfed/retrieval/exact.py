"""The best that any index could do: score all rows against the queries themselves.

Clients send their queries, which is more traffic and far more private than bucket numbers: a yardstick,
not a method to deploy.
"""

from dataclasses import dataclass, field
from typing import ClassVar, Literal

import numpy as np
import torch

from hashfed.errors import HashfedError
from hashfed.retrieval.evidence import softmax_mass
from hashfed.retrieval.method import IndexedSettings
from hashfed.retrieval.protocol import Candidates, Encoder, Index, Keys


@dataclass(frozen=True)
class ExactEncoder(Encoder):
    """Sends the queries as they are."""

    kind: ClassVar[str] = "exact"

    def encode(self, queries: torch.Tensor) -> Keys:
        """``queries`` (count, d) float32."""
        return {"queries": queries.numpy()}


@dataclass(frozen=True)
class ExactIndex(Index):
    """Scores = the softmax mass that falls on a row, summed over the client's queries."""

    rows: torch.Tensor
    encoder: ExactEncoder = field(default_factory=ExactEncoder)

    def lookup(self, keys: Keys) -> Candidates:
        """All rows with their expected mass: the optimum for coverage of the softmax mass."""
        return Candidates.positive(softmax_mass(self.rows, self.queries(keys)[0]))

    def queries(self, keys: Keys) -> tuple[torch.Tensor, None]:
        """The queries themselves."""
        return check_queries(keys, self.rows.shape[1]), None

    def scored(self, keys: Keys) -> int:
        """The queries."""
        return len(self.queries(keys)[0])


class ExactSettings(IndexedSettings):
    """Rows with the most softmax mass on the client's queries, which it sends."""

    method: Literal["exact"] = "exact"

    encoder: ClassVar[type[Encoder]] = ExactEncoder
    tells_queries: ClassVar[bool] = True

    def build(self, rows: torch.Tensor, prior: np.ndarray, seed: int) -> ExactIndex:
        """Keeps ``rows`` (n, d) by reference."""
        return ExactIndex(rows)


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
