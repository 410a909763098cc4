"""The mean of a cohort's updates."""

from collections.abc import Iterable

import torch

from hashfed.federated.messages import Update
from hashfed.federated.sums import PseudoGradient, RowAverage, RowShares, UpdateSum
from hashfed.retrieval.planes import Tail


def mean_of(
    updates: Iterable[tuple[Update, Tail | None]],
    table: torch.Tensor,
    rule: RowAverage,
    shares: RowShares,
    uniform: bool = False,
) -> PseudoGradient:
    """Of updates with the tails of their clients, each let go before the next is asked for."""
    total = UpdateSum({"output": table}, uniform)
    for pair in updates:
        total.add(*pair)
        del pair
    return total.mean(rule, shares)
