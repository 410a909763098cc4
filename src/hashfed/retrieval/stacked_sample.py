"""``sample`` for many clients at once, wherever their scores are: its chances, and its random numbers."""

from collections.abc import Sequence

import numpy as np
import torch

from hashfed.retrieval.sample import BLOCK, TRIES
from hashfed.retrieval.select import Selection


def sample_many(
    own: Sequence[np.ndarray],
    scores: torch.Tensor,
    budgets: Sequence[int],
    tail: float,
    corrected: bool,
    rngs: Sequence[np.random.Generator],
) -> list[Selection]:
    """A selection of each client.

    Args:
        own: (o,) int64 distinct ids of each.
        scores: (C, n) float64, at least 0; a row that is no candidate has 0. Overwritten.
        budgets: rows to select, of each.
        tail: share of the uniform distribution, as of ``sample``.
        corrected: whether log_weight is −log π.
        rngs: of each.

    """
    size = scores.shape[1]
    # Who may have all rows gets them, whatever the scores.
    some = [client for client, budget in enumerate(budgets) if budget < size]
    found = [Selection.all(size)] * len(budgets)
    if some:
        chances = inclusion_probabilities_of(
            [own[client] for client in some],
            scores if len(some) == len(budgets) else scores[some],
            [budgets[client] for client in some],
            tail,
        )
        certain = chances >= 1
        sure = certain.sum(1).tolist()
        counts = [budgets[client] - count for client, count in zip(some, sure, strict=True)]
        chosen = certain | _systematic(chances, certain, counts, [rngs[client] for client in some])
        for client, selection in zip(some, _selections(chances, chosen, corrected), strict=True):
            found[client] = selection
    return found


def inclusion_probabilities_of(
    own: Sequence[np.ndarray], scores: torch.Tensor, budgets: Sequence[int], tail: float
) -> torch.Tensor:
    """π (C, n) float64 of each client, in the memory of ``scores`` (``sample.inclusion_probabilities``)."""
    size, device = scores.shape[1], scores.device
    held = [len(ids) for ids in own]
    clients = np.repeat(np.arange(len(own)), held)
    owned = (torch.from_numpy(clients).to(device), torch.from_numpy(np.concatenate(own)).to(device))
    room = torch.tensor([max(0, budget - of) for budget, of in zip(budgets, held, strict=True)])
    room, free = (value.to(device, torch.float64)[:, None] for value in (room, size - torch.tensor(held)))
    chances = scores.clamp_(min=0)
    chances[owned] = 0
    total = chances.sum(1, keepdim=True)
    share = torch.ones_like(total).masked_fill_(total > 0, tail)
    chances.mul_(torch.where(total > 0, (1 - share) / total, 0.0)).add_(share / free)
    chances[owned] = 0
    positive = torch.count_nonzero(chances, 1)[:, None]
    few = (positive <= room).squeeze(1)
    if bool(few.any()):
        # Too few candidates: all of them, padded uniformly (the paper's padding).
        some, there, place = chances[few], positive[few], room[few]
        padding = (place - there) / (free[few] - there).clamp(min=1)
        chances[few] = torch.where(some > 0, 1.0, padding)
    _cap(chances, room, few)
    chances[owned] = 1
    return chances


def _cap(chances: torch.Tensor, room: torch.Tensor, done: torch.Tensor) -> None:
    """Replace chances (C, n) by min(1, c · chances) with sum ``room`` (C, 1), but where ``done`` (C,)."""
    capped = torch.zeros_like(chances, dtype=torch.bool)
    factor = torch.ones_like(room)
    while True:  # each time at least one more is capped, most often nearly all that will be
        rest = torch.where(capped, 0.0, chances).sum(1, keepdim=True)
        left = room - capped.sum(1, keepdim=True)
        factor = torch.where(rest > 0, left / rest, 1.0)
        more = (chances * factor >= 1) & ~capped & ~done[:, None]
        if not bool(more.any()):
            break
        capped |= more
    scaled = torch.where(capped, 1.0, chances * factor)
    chances.copy_(torch.where(done[:, None], chances, scaled.clamp_(max=1)))


def _systematic(
    chances: torch.Tensor,
    certain: torch.Tensor,
    counts: Sequence[int],
    rngs: Sequence[np.random.Generator],
) -> torch.Tensor:
    """(C, n) bool, true for ``counts`` rows of each client that are not ``certain``: see ``sample``."""
    size, device = chances.shape[1], chances.device
    blocks = size // BLOCK + 2
    some = [client for client, count in enumerate(counts) if count > 0]
    # A column more, for places of the first and the last block where no row is.
    drawn = torch.zeros(len(certain), size + 1, dtype=torch.bool, device=device)
    begins = np.empty((len(some), 1, 1), np.int64)
    orders = np.empty((len(some), blocks, 1), np.int64)
    for place, client in enumerate(some):
        begins[place], orders[place, :, 0] = rngs[client].integers(BLOCK), rngs[client].permutation(blocks)
    index = torch.from_numpy(orders * BLOCK - begins).to(device) + torch.arange(BLOCK, device=device)
    index = index.flatten(1)
    index = torch.where((index >= 0) & (index < size), index, size)
    part = torch.tensor(some, dtype=torch.int64, device=device)
    free = torch.zeros(len(some), size + 1, dtype=chances.dtype, device=device)
    free[:, :size] = torch.where(certain[part], 0.0, chances[part])
    ends = free.gather(1, index).cumsum(1)
    wanted = torch.tensor([counts[client] for client in some], dtype=torch.int64, device=device)
    ends = torch.cat([torch.zeros_like(ends[:, :1]), ends * (wanted[:, None] / ends[:, -1:])], 1)
    waiting = torch.arange(len(some), device=device)
    if not some:
        return drawn[:, :size]
    for _ in range(TRIES):
        teeth = np.array([[rngs[some[place]].random()] for place in waiting.tolist()])
        before = (ends[waiting] - torch.from_numpy(teeth).to(device)).ceil_()
        hit = before[:, 1:] != before[:, :-1]
        right = hit.sum(1) == wanted[waiting]
        ready = waiting[right]
        found = torch.zeros(len(ready), size + 1, dtype=torch.bool, device=device)
        drawn[part[ready]] = found.scatter_(1, index[ready], hit[right])
        waiting = waiting[~right]
        if len(waiting) == 0:
            return drawn[:, :size]
    raise RuntimeError("the chances of the rows do not add up to the number of draws")


def _selections(chances: torch.Tensor, chosen: torch.Tensor, corrected: bool) -> list[Selection]:
    sizes = chosen.sum(1).cpu().numpy()
    clients, ids = chosen.nonzero(as_tuple=True)
    weights = -chances[clients, ids].log() if corrected else torch.zeros(len(ids))
    ends = np.cumsum(sizes)[:-1]
    every = np.split(ids.cpu().numpy(), ends), np.split(weights.cpu().numpy().astype(np.float32), ends)
    return [Selection(ids, weight) for ids, weight in zip(*every, strict=True)]
