"""All rows to every client: ordinary federated learning, as one more retrieval method."""

from dataclasses import dataclass, field
from typing import ClassVar, Literal

import numpy as np
import torch

from hashfed.retrieval.method import RetrievalSettings
from hashfed.retrieval.protocol import Candidates, Index, Keys, NoEncoder
from hashfed.retrieval.settings import Delivery


@dataclass(frozen=True)
class FullIndex(Index):
    """Every row is a candidate; the selection is all rows whatever the budget."""

    size: int
    encoder: NoEncoder = field(default_factory=NoEncoder)

    def lookup(self, keys: Keys) -> Candidates:
        """All n rows, with equal scores."""
        return Candidates(np.arange(self.size), np.ones(self.size))

    def scored(self, keys: Keys) -> int:
        """None."""
        return 0


class FullSettings(RetrievalSettings):
    """All rows."""

    method: Literal["full"] = "full"

    deliveries: ClassVar[tuple[Delivery, ...]] = ("on-demand", "broadcast", "secure")
    sends_all: ClassVar[bool] = True

    def build(self, rows: torch.Tensor, prior: np.ndarray, seed: int) -> FullIndex:
        """For ``rows`` (n, d)."""
        return FullIndex(len(rows))
