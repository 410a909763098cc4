"""The rows that are most often labels in public counts: no adaptivity, and the baseline to beat."""

from dataclasses import dataclass, field

import numpy as np
import torch

from hashfed.retrieval.protocol import Candidates, Keys, NoEncoder
from hashfed.retrieval.settings import RetrievalSettings


@dataclass(frozen=True)
class FrequencyIndex:
    """Scores = public counts, the same for every client."""

    counts: np.ndarray
    encoder: NoEncoder = field(default_factory=NoEncoder)

    @classmethod
    def build(
        cls, rows: torch.Tensor, settings: RetrievalSettings, prior: np.ndarray, seed: int
    ) -> "FrequencyIndex":
        """``prior`` (n,): how often each row is a label."""
        return cls(np.asarray(prior, np.float64))

    def lookup(self, keys: Keys) -> Candidates:
        """All rows that occur at all, scored by count."""
        return Candidates.positive(self.counts)
