"""HR@k, NDCG@k and MRR over all items, and likelihood under the full softmax."""

import math
from dataclasses import dataclass

import torch

from hashfed.errors import HashfedError
from hashfed.models.batch import Targets
from hashfed.tasks.metrics import Sums
from hashfed.tasks.next_item.catalogue import FIRST
from hashfed.tasks.next_item.ranking import expected

LARGEST_LOSS = 1e6
"""Nats of one prediction that are believed."""
ROUNDING = 1e-6
"""Of a sum, per prediction."""


@dataclass(frozen=True)
class NextItemMetrics:
    """Sums over predictions: ``targets``, their number; ``hr_K``, ``ndcg_K``, ``mrr`` and ``nll``, in nats.

    The target is ranked among all items but those that the user had before; items with its very score are
    ordered at random, and the mean over the orders counts. The likelihood is that of the softmax over all
    rows.
    """

    cutoffs: tuple[int, ...]

    @property
    def names(self) -> tuple[str, ...]:
        """Of the sums and means, the number of targets first."""
        return ("targets", *(f"{kind}_{k}" for k in self.cutoffs for kind in ("hr", "ndcg")), "mrr", "nll")

    def sums(self, logits: torch.Tensor, targets: Targets) -> Sums:
        """See ``Metrics``."""
        rows = targets.rows[:, None]
        chosen = logits.gather(1, rows)
        nll = torch.logsumexp(logits, dim=1) - chosen.squeeze(1)
        rivals = torch.ones_like(logits, dtype=torch.bool)
        rivals[:, :FIRST] = False
        if targets.excluded is not None:
            rivals[targets.excluded.owners, targets.excluded.rows] = False
        rivals.scatter_(1, rows, False)
        above = ((logits > chosen) & rivals).sum(1)
        tied = ((logits == chosen) & rivals).sum(1)
        found = expected(above.cpu().numpy(), tied.cpu().numpy(), self.cutoffs)
        means = {name: float(values.sum()) for name, values in found.items()}
        return {"targets": len(targets)} | means | {"nll": float(nll.sum(dtype=torch.float64))}

    def metrics(self, sums: Sums) -> dict[str, float]:
        """Means, and ``targets``."""
        found = dict.fromkeys(self.names, 0.0) | dict(sums)
        count = found.pop("targets")
        return {name: value / max(1, count) for name, value in found.items()} | {"targets": count}

    def check(self, sums: Sums, most: int) -> Sums:
        """See ``Metrics``: what is nearer to the top is worth more, and all of it bounds the rest."""
        if set(sums) != set(self.names):
            odd = sorted(set(sums) ^ set(self.names))[0]
            raise HashfedError(
                f"sums of predictions: {odd} is in only one of the message and what is asked for"
            )
        count = sums["targets"]
        if not 0 <= count <= most or count != int(count):
            raise HashfedError(f"sums of predictions: targets = {count}: must be an integer from 0 to {most}")
        hits, before = 0.0, 0
        for k in sorted(self.cutoffs):
            hits = _within(sums, f"hr_{k}", hits, count, count)
            _within(sums, f"ndcg_{k}", hits / math.log2(1 + k), hits, count)
            before = k
        _within(sums, "mrr", hits / before, count, count)
        _within(sums, "nll", -1e-3 * count, LARGEST_LOSS * count, count)
        return {name: int(count) if name == "targets" else float(sums[name]) for name in self.names}


def _within(sums: Sums, name: str, least: float, most: float, count: float) -> float:
    """One sum, from ``least`` to ``most`` but for what rounding may have changed."""
    value, slack = sums[name], ROUNDING * count
    if not least - slack <= value <= most + slack:
        raise HashfedError(f"sums of predictions: {name} = {value}: must be from {least:g} to {most:g}")
    return float(value)
