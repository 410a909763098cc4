"""Precision, propensity-scored precision and nDCG of the k best labels, as the XC repository has them."""

import math
from collections.abc import Iterator

import torch

from hashfed.errors import HashfedError
from hashfed.models.batch import Targets
from hashfed.tasks.metrics import Sums

CUTS = (1, 3, 5)
"""k."""
LARGEST_GAIN = 1e9
"""Of one label, that is believed."""
ROUNDING = 1e-4
"""By which a sum may exceed its bound."""


class LabelMetrics:
    """Sums over examples; all are counted, also those without labels, which nothing finds.

    ``examples``: their number. For each k: ``hits_k``, how many of the k labels with the highest logits are
    true; ``dcg_k``, the same with the discount 1/log2(place + 1), divided by the best that the example's
    number of labels allows; ``gains_k``, the hits weighted by their inverse propensities, and ``most_k``,
    the best possible of these.

    Where labels have equal logits, their order does not matter: each counts what it would in the mean over
    all orders of these (McSherry and Najork 2008).
    """

    def sums(self, logits: torch.Tensor, targets: Targets) -> Sums:
        """See ``Metrics``; gains of targets are their inverse propensities, 1 where there are none."""
        highest = logits.topk(min(CUTS[-1], logits.shape[1])).values
        if not bool(torch.isfinite(highest).all()):  # what is no number is above all numbers
            return dict.fromkeys(_names(), math.nan) | {"examples": len(targets)}
        found: dict[str, float] = {"examples": len(targets)}
        above, equal = _places(logits, highest, targets)
        gains = torch.ones(len(above)) if targets.gains is None else targets.gains
        gains = gains.to(logits.device, torch.float64)
        discounts = 1 / torch.log2(torch.arange(2, CUTS[-1] + 2, dtype=torch.float64, device=logits.device))
        counts, owners = torch.bincount(targets.owners, minlength=len(targets)), targets.owners
        rank = _rank_of_gains(gains, owners, counts)
        for k in CUTS:
            hits = _share(torch.ones_like(discounts[:k]), above, equal)
            best = discounts[:k].cumsum(0)[counts.clamp(1, k) - 1]
            found[f"hits_{k}"] = float(hits.sum())
            found[f"dcg_{k}"] = float((_share(discounts[:k], above, equal) / best[owners]).sum())
            found[f"gains_{k}"] = float((hits * gains).sum())
            found[f"most_{k}"] = float(gains[rank < k].sum())
        return found

    def metrics(self, sums: Sums) -> dict[str, float]:
        """Means over examples; of the propensity-scored ones the share of the best possible sum."""
        found = dict.fromkeys(_names(), 0.0) | dict(sums)
        examples = max(1, found["examples"])
        return {
            **{f"precision_at_{k}": found[f"hits_{k}"] / (k * examples) for k in CUTS},
            **{
                f"propensity_precision_at_{k}": found[f"gains_{k}"] / (found[f"most_{k}"] or 1.0)
                for k in CUTS
            },
            **{f"ndcg_at_{k}": found[f"dcg_{k}"] / examples for k in CUTS},
            "targets": found["examples"],
        }

    def check(self, sums: Sums, most: int) -> Sums:
        """See ``Metrics``."""
        if odd := sorted(set(sums) ^ set(_names())):
            raise HashfedError(
                f"sums of predictions: {odd[0]} is in only one of the message and what is asked for"
            )
        examples = sums["examples"]
        if not 0 <= examples <= most or examples != int(examples):
            raise HashfedError(
                f"sums of predictions: examples = {examples}: must be an integer from 0 to {most}"
            )
        before = dict.fromkeys(("hits", "gains", "most"), 0.0)
        for k in CUTS:
            bounds = {"hits": k * examples, "dcg": examples, "most": k * examples * LARGEST_GAIN}
            for name in ("hits", "dcg", "most", "gains"):
                least, top = before.get(name, 0.0), bounds[name] if name in bounds else sums[f"most_{k}"]
                value, slack = sums[f"{name}_{k}"], ROUNDING * (1 + top)
                if not least - slack <= value <= top + slack:
                    raise HashfedError(
                        f"sums of predictions: {name}_{k} = {value}: must be from {least:g} to {top:g}"
                    )
                if name in before:
                    before[name] = value
        return sums


def _names() -> Iterator[str]:
    yield "examples"
    yield from (f"{name}_{k}" for name in ("hits", "dcg", "gains", "most") for k in CUTS)


def _places(logits: torch.Tensor, best: torch.Tensor, targets: Targets) -> tuple[torch.Tensor, torch.Tensor]:
    """For each target how many labels have a higher logit, and how many the same: two of (q,) int64.

    ``best``: the highest logits of each prediction, in order; those that are not among them have a place
    beyond.
    """
    own = logits[targets.owners, targets.rows]
    tied = (logits == best[:, -1:]).sum(1)  # only at the last place may there be ties beyond the best
    among = best[targets.owners]
    above, equal = (among > own[:, None]).sum(1), (among == own[:, None]).sum(1)
    equal = torch.where(own == among[:, -1], tied[targets.owners], equal)
    beyond = ~(own >= among[:, -1])
    return above.masked_fill(beyond, CUTS[-1]), equal.clamp(min=1)


def _share(worth: torch.Tensor, above: torch.Tensor, equal: torch.Tensor) -> torch.Tensor:
    """What each target counts where place i is worth ``worth[i]``, in the mean over orders: (q,) float64."""
    until = torch.cat([worth.new_zeros(1), worth.cumsum(0)])
    last = len(worth)
    return (until[(above + equal).clamp(max=last)] - until[above.clamp(max=last)]) / equal


def _rank_of_gains(gains: torch.Tensor, owners: torch.Tensor, counts: torch.Tensor) -> torch.Tensor:
    """The place of each target among those of its prediction, the greatest gain first: (q,) int64 from 0."""
    order = torch.argsort(gains, descending=True, stable=True)
    order = order[torch.argsort(owners[order], stable=True)]
    starts = (counts.cumsum(0) - counts)[owners[order]]
    rank = torch.empty_like(order)
    rank[order] = torch.arange(len(order), device=order.device) - starts
    return rank
