"""All rows to every client: ordinary federated learning, as one more retrieval method."""

from dataclasses import dataclass, field

import numpy as np
import torch

from hashfed.retrieval.protocol import Candidates, Keys, NoEncoder
from hashfed.retrieval.settings import RetrievalSettings


@dataclass(frozen=True)
class FullIndex:
    """Every row is a candidate; the selection is all rows whatever the budget."""

    size: int
    encoder: NoEncoder = field(default_factory=NoEncoder)

    @classmethod
    def build(
        cls, rows: torch.Tensor, settings: RetrievalSettings, prior: np.ndarray, seed: int
    ) -> "FullIndex":
        """For ``rows`` (n, d)."""
        return cls(len(rows))

    def lookup(self, keys: Keys) -> Candidates:
        """All n rows, with equal scores."""
        return Candidates(np.arange(self.size), np.ones(self.size))
