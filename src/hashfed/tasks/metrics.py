"""Metrics as sums over predictions by name, which are added up in any order and divided at the end."""

from collections.abc import Iterable, Mapping
from typing import Protocol

import torch

from hashfed.models.batch import Targets

Sums = Mapping[str, float]
"""Counts and sums by name; the same names from every batch of a task."""


class Metrics(Protocol):
    """What a task measures on held-out clients."""

    def sums(self, logits: torch.Tensor, targets: Targets) -> Sums:
        """Those of one batch.

        Args:
            logits: (p, n) over all rows.
            targets: of the queries, as ids.

        """
        ...

    def metrics(self, sums: Sums) -> dict[str, float]:
        """Means, by the names used in metrics files; those of no prediction for no sums."""
        ...

    def check(self, sums: Sums, most: int) -> Sums:
        """The sums of a client elsewhere, once they are found to be possible.

        Args:
            sums: that it sent.
            most: predictions that it can have made.

        Raises:
            HashfedError: where one is missing, absurd, or contradicts another.

        """
        ...


def add_sums(parts: Iterable[Sums]) -> Sums:
    """Name by name, in the order given."""
    total: dict[str, float] = {}
    for part in parts:
        for name, value in part.items():
            total[name] = total.get(name, 0) + value
    return total
