"""The paper's retrieval: the union of the buckets that a client's queries fall into (section 3.1)."""

from dataclasses import dataclass

import numpy as np
import torch

from hashfed.hashing import HashTables
from hashfed.retrieval.protocol import Candidates, Keys
from hashfed.retrieval.settings import RetrievalSettings
from hashfed.retrieval.simhash_encoder import SimHashEncoder
from hashfed.retrieval.simhash_tables import build_tables


@dataclass(frozen=True)
class SimHashUnionIndex:
    """Every row of every bucket, with equal scores: the selection subsamples or pads at random."""

    encoder: SimHashEncoder
    tables: HashTables

    @classmethod
    def build(
        cls, rows: torch.Tensor, settings: RetrievalSettings, prior: np.ndarray, seed: int
    ) -> "SimHashUnionIndex":
        """Hash ``rows`` (n, d) into L tables; the prior is not used."""
        return cls(*build_tables(rows, settings, seed))

    def lookup(self, keys: Keys) -> Candidates:
        """The union of the buckets, each row with score 1."""
        buckets, counts = self.encoder.check(keys)
        hits = self.tables.collisions(buckets, np.ones_like(counts))
        return Candidates.positive((hits > 0).astype(np.float64))
