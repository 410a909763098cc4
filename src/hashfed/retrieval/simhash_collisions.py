"""Rows ranked by how often they share a bucket with a client's queries.

The paper's union keeps one bit per row: found or not. At K = L = 8 the union over a client's queries
is nearly all rows of a 10K vocabulary, so subsampling it is random selection. The number of collisions,
over tables and queries, is for the same keys an estimate of Σ_q L·(1 − θ_q/π)^K: rows near many queries
come first.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import torch

from hashfed.retrieval.checks import check_counts
from hashfed.retrieval.protocol import Candidates, Keys
from hashfed.retrieval.settings import RetrievalSettings
from hashfed.retrieval.simhash_encoder import SimHashEncoder
from hashfed.retrieval.simhash_scores import frequency_weight, most_collisions
from hashfed.retrieval.simhash_tables import SimHashTables


@dataclass(frozen=True)
class SimHashCollisionsIndex:
    """Scores = collisions × (public frequency + 1)^prior.

    Attributes:
        tables: the rows by bucket.
        weight: (n,) float64, by which collisions are multiplied.
        exponent: of the public frequency.

    """

    tables: SimHashTables
    weight: np.ndarray
    exponent: float

    @classmethod
    def build(
        cls, rows: torch.Tensor, settings: RetrievalSettings, prior: np.ndarray, seed: int
    ) -> "SimHashCollisionsIndex":
        """Hash ``rows`` (n, d); ``prior`` (n,) are public counts of how often each row is a label."""
        return cls._weighted(SimHashTables.build(rows, settings, seed), prior, settings.prior)

    @classmethod
    def _weighted(cls, tables: SimHashTables, prior: np.ndarray, exponent: float) -> "SimHashCollisionsIndex":
        return cls(tables, frequency_weight(prior, exponent), exponent)

    def state(self) -> dict[str, torch.Tensor]:
        """What to save (``SimHashTables.state``)."""
        return self.tables.state()

    @classmethod
    def restore(
        cls,
        rows: torch.Tensor,
        settings: RetrievalSettings,
        prior: np.ndarray,
        seed: int,
        state: Mapping[str, torch.Tensor],
    ) -> "SimHashCollisionsIndex":
        """The index whose ``state`` this is, over the same ``rows`` (n, d)."""
        return cls._weighted(SimHashTables.restore(rows, settings, seed, state), prior, settings.prior)

    @property
    def encoder(self) -> SimHashEncoder:
        """What clients receive."""
        return self.tables.encoder

    @property
    def exact_refresh(self) -> bool:
        """Whether ``refresh`` gives what ``build`` would (``SimHashTables.exact_refresh``)."""
        return self.tables.exact_refresh

    def refresh(
        self, rows: torch.Tensor, ids: np.ndarray, prior: np.ndarray | None = None
    ) -> "SimHashCollisionsIndex":
        """The index with the rows ``ids`` hashed again (``SimHashTables.refresh``), and new counts if any."""
        tables = self.tables.refresh(rows, ids)
        if prior is None:
            return replace(self, tables=tables)
        check_counts(prior, len(self.weight))
        return self._weighted(tables, prior, self.exponent)

    def lookup(self, keys: Keys) -> Candidates:
        """Every row with at least one collision, and its score."""
        tables = self.tables
        return most_collisions(self.encoder, keys, tables.tables.collisions, tables.scale, self.weight)
