"""Rows ranked by how often they share a bucket with a client's queries.

The paper's union keeps one bit per row: found or not. At K = L = 8 the union over a client's queries
is nearly all rows of a 10K vocabulary, so subsampling it is random selection. The number of collisions,
over tables and queries, is for the same keys an estimate of Σ_q L·(1 − θ_q/π)^K: rows near many queries
come first.
"""

from dataclasses import dataclass, replace
from typing import Literal, Self

import numpy as np
import torch
from pydantic import Field

from hashfed.retrieval.checks import check_counts
from hashfed.retrieval.method import CountedSettings, Published
from hashfed.retrieval.protocol import Candidates, Keys
from hashfed.retrieval.simhash_index import SimHashIndex, SimHashSettings, slice_encoder
from hashfed.retrieval.simhash_scores import frequency_weight, most_collisions


@dataclass(frozen=True)
class SimHashCollisionsIndex(SimHashIndex):
    """Scores = collisions × (public frequency + 1)^prior.

    Attributes:
        weight: (n,) float64, by which collisions are multiplied.
        exponent: of the public frequency.

    """

    weight: np.ndarray
    exponent: float

    def refresh(self, rows: torch.Tensor, ids: np.ndarray, prior: np.ndarray | None = None) -> Self:
        """As ``SimHashIndex.refresh``, with new counts if any."""
        index = super().refresh(rows, ids)
        if prior is None:
            return index
        check_counts(prior, len(self.weight))
        return replace(index, weight=frequency_weight(prior, self.exponent))

    def lookup(self, keys: Keys) -> Candidates:
        """Every row with at least one collision, and its score."""
        return most_collisions(self.encoder, keys, self.tables.collisions, self.scale, self.weight)


class SimHashCollisionsSettings(SimHashSettings, CountedSettings):
    """Rows ranked by SimHash collisions."""

    method: Literal["simhash-collisions"] = "simhash-collisions"
    prior: float = Field(1.0, ge=0, le=4)
    """Exponent of the public label counts that multiply the collisions."""

    def build(self, rows: torch.Tensor, prior: np.ndarray, seed: int) -> SimHashCollisionsIndex:
        """Hash ``rows`` (n, d); ``prior`` (n,) are public counts of how often each row is a label."""
        weight = frequency_weight(prior, self.prior)
        return SimHashCollisionsIndex(*self.hash(rows, seed), weight, self.prior)

    def find(self, keys: Keys, published: Published) -> Candidates:
        """The same in the buckets that were fetched."""
        weight = frequency_weight(published.prior, self.prior)
        return most_collisions(slice_encoder(published), keys, published.hits, published.scale, weight)
