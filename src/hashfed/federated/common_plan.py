"""What both sides know of a run in which the server learns sums alone, before its first message."""

import math
from dataclasses import dataclass

import numpy as np

from hashfed.federated.privacy.parameters import sum_bits
from hashfed.federated.sum_layout import BODY, TABLE, SumLayout


@dataclass(frozen=True)
class CommonPlan:
    """Of a run.

    Attributes:
        rows: |U|, which all clients hold.
        planes: K; 0 without planes.
        layout: of what clients add up.
        predictions: of a client, at most.
        weight: of a client, at most.
        cohort: clients of a round, at most.
        clip: the largest norm of an update, if any.

    """

    rows: int
    planes: int
    layout: SumLayout
    predictions: int
    weight: float
    cohort: int
    clip: float | None

    @property
    def clips(self) -> bool:
        """Whether updates are clipped by their norm."""
        return self.clip is not None

    @property
    def caps(self) -> np.ndarray:
        """(b,) float64: what no number of an honest client's parts exceeds, where anything is known of it."""
        most = math.inf if self.clip is None else self.clip * self.weight
        return np.array(
            [most if name.startswith((BODY, TABLE)) else math.inf for name in self.layout.shapes], np.float64
        )

    @property
    def value_bits(self) -> int:
        """Of a number that a client adds."""
        return self.layout.bits

    @property
    def open_bits(self) -> int:
        """Of a number that travels without masks."""
        return sum_bits(self.value_bits, self.cohort)
