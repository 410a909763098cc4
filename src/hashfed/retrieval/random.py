"""Rows drawn uniformly: Federated Dropout on the output layer, the paper's baseline."""

from dataclasses import dataclass, field
from typing import ClassVar, Literal

import numpy as np
import torch

from hashfed.retrieval.method import PartSettings, Published
from hashfed.retrieval.protocol import Candidates, Index, Keys, NoEncoder
from hashfed.retrieval.settings import Delivery


@dataclass(frozen=True)
class RandomIndex(Index):
    """No candidates: the selection fills the whole budget at random."""

    encoder: NoEncoder = field(default_factory=NoEncoder)

    def lookup(self, keys: Keys) -> Candidates:
        """No candidates."""
        return Candidates.none()

    def scored(self, keys: Keys) -> int:
        """None."""
        return 0


class RandomSettings(PartSettings):
    """Uniformly drawn rows."""

    method: Literal["random"] = "random"

    deliveries: ClassVar[tuple[Delivery, ...]] = ("on-demand", "broadcast", "pre-generated", "secure")

    def build(self, rows: torch.Tensor, prior: np.ndarray, seed: int) -> RandomIndex:
        """Nothing to build."""
        return RandomIndex()

    def find(self, keys: Keys, published: Published) -> Candidates:
        """No candidates."""
        return Candidates.none()
