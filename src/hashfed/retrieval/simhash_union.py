"""The paper's retrieval: the union of the buckets that a client's queries fall into (section 3.1)."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch

from hashfed.retrieval.protocol import Candidates, Keys
from hashfed.retrieval.settings import RetrievalSettings
from hashfed.retrieval.simhash_encoder import SimHashEncoder
from hashfed.retrieval.simhash_scores import union_of_buckets
from hashfed.retrieval.simhash_tables import SimHashTables


@dataclass(frozen=True)
class SimHashUnionIndex:
    """Every row of every bucket, with equal scores: the selection subsamples or pads at random."""

    tables: SimHashTables

    @classmethod
    def build(
        cls, rows: torch.Tensor, settings: RetrievalSettings, prior: np.ndarray, seed: int
    ) -> "SimHashUnionIndex":
        """Hash ``rows`` (n, d) into L tables; the prior is not used."""
        return cls(SimHashTables.build(rows, settings, seed))

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
    ) -> "SimHashUnionIndex":
        """The index whose ``state`` this is, over the same ``rows`` (n, d)."""
        return cls(SimHashTables.restore(rows, settings, seed, state))

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
    ) -> "SimHashUnionIndex":
        """The index with the rows ``ids`` hashed again (``SimHashTables.refresh``)."""
        return SimHashUnionIndex(self.tables.refresh(rows, ids))

    def lookup(self, keys: Keys) -> Candidates:
        """The union of the buckets, each row with score 1."""
        return union_of_buckets(self.encoder, keys, self.tables.tables.collisions)
