"""The rows that are most often labels in public counts: no adaptivity, and the baseline to beat."""

from dataclasses import dataclass, field
from typing import ClassVar, Literal

import numpy as np
import torch

from hashfed.retrieval.method import CountedSettings, Published
from hashfed.retrieval.protocol import Candidates, Index, Keys, NoEncoder
from hashfed.retrieval.settings import Delivery


@dataclass(frozen=True)
class FrequencyIndex(Index):
    """Scores = public counts (n,) float64, the same for every client."""

    counts: np.ndarray
    encoder: NoEncoder = field(default_factory=NoEncoder)

    def lookup(self, keys: Keys) -> Candidates:
        """All rows that occur at all, scored by count."""
        return Candidates.positive(self.counts)

    def scored(self, keys: Keys) -> int:
        """None."""
        return 0


class FrequencySettings(CountedSettings):
    """The most frequent rows."""

    method: Literal["frequency"] = "frequency"

    deliveries: ClassVar[tuple[Delivery, ...]] = ("on-demand", "broadcast", "pre-generated", "secure")

    def build(self, rows: torch.Tensor, prior: np.ndarray, seed: int) -> FrequencyIndex:
        """``prior`` (n,): how often each row is a label."""
        return FrequencyIndex(np.asarray(prior, np.float64))

    def find(self, keys: Keys, published: Published) -> Candidates:
        """As ``FrequencyIndex.lookup``."""
        return FrequencyIndex(np.asarray(published.prior, np.float64)).lookup(keys)
