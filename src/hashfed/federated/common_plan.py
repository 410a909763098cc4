"""What both sides know of a run in which the server learns sums alone, before its first message."""

from dataclasses import dataclass

from hashfed.federated.privacy.parameters import sum_bits
from hashfed.federated.sum_layout import SumLayout


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
        clips: whether updates are clipped by their norm.

    """

    rows: int
    planes: int
    layout: SumLayout
    predictions: int
    weight: float
    cohort: int
    clips: bool

    @property
    def value_bits(self) -> int:
        """Of a number that a client adds."""
        return self.layout.bits

    @property
    def open_bits(self) -> int:
        """Of a number that travels without masks."""
        return sum_bits(self.value_bits, self.cohort)
