"""Rows drawn uniformly: Federated Dropout on the output layer, the paper's baseline."""

from dataclasses import dataclass, field

import numpy as np
import torch

from hashfed.retrieval.protocol import Candidates, Keys, NoEncoder
from hashfed.retrieval.settings import RetrievalSettings


@dataclass(frozen=True)
class RandomIndex:
    """No candidates: the selection fills the whole budget at random."""

    encoder: NoEncoder = field(default_factory=NoEncoder)

    @classmethod
    def build(
        cls, rows: torch.Tensor, settings: RetrievalSettings, prior: np.ndarray, seed: int
    ) -> "RandomIndex":
        """Nothing to build."""
        return cls()

    def lookup(self, keys: Keys) -> Candidates:
        """No candidates."""
        return Candidates.none()
