"""The paper's retrieval: the union of the buckets that a client's queries fall into (section 3.1)."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch

from hashfed.retrieval.method import Published
from hashfed.retrieval.protocol import Candidates, Keys
from hashfed.retrieval.simhash_index import SimHashIndex, SimHashSettings, slice_encoder
from hashfed.retrieval.simhash_scores import union_of_buckets


@dataclass(frozen=True)
class SimHashUnionIndex(SimHashIndex):
    """Every row of every bucket, with equal scores: the selection subsamples or pads at random."""

    def lookup(self, keys: Keys) -> Candidates:
        """The union of the buckets, each row with score 1."""
        return union_of_buckets(self.encoder, keys, self.tables.collisions)


class SimHashUnionSettings(SimHashSettings):
    """The paper's union of SimHash buckets."""

    method: Literal["simhash-union"] = "simhash-union"

    def build(self, rows: torch.Tensor, prior: np.ndarray, seed: int) -> SimHashUnionIndex:
        """Hash ``rows`` (n, d) into L tables."""
        return SimHashUnionIndex(*self.hash(rows, seed))

    def find(self, keys: Keys, published: Published) -> Candidates:
        """The same of the buckets that were fetched."""
        return union_of_buckets(slice_encoder(published), keys, published.hits)
