"""From a client's evidence to one score per row: expected softmax mass, smoothed by the public prior.

What a client needs is the mean of its queries' softmax, m_i = (1/N) Σ_q p(i | q): the rows with the most
of it cover the most probability (the maximum over queries, which nearest-neighbour search returns, does
not). An index estimates it from keys as a distribution e. With a Dirichlet prior of strength κ around the
public label distribution p, N queries of evidence give the posterior mean

    score_i = N · e_i + κ · p_i

so a client with few queries gets mostly the prior, one with many mostly its own evidence.
"""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import torch

from hashfed.errors import ClientDivergedError
from hashfed.retrieval.protocol import Candidates, Powers

CHUNK = 64
"""Most queries scored at a time."""
CHUNK_LOGITS = 1 << 25
"""Most logits held at a time (128 MiB), whatever n."""
TILE_LOGITS = 1 << 17
"""Logits that are made, turned into exponentials and added up while they are in the cache (512 KiB)."""
PLAIN = (1e-20, 1e30)
"""Between these sums of exponentials, float32 needs no largest logit subtracted: none overflowed, and what
underflowed is below 1e-18 of the sum."""


def softmax_mass(
    rows: torch.Tensor,
    queries: torch.Tensor,
    weights: np.ndarray | None = None,
    keep: Callable[[Powers], None] = lambda powers: None,
    table: torch.Tensor | None = None,
) -> np.ndarray:
    """Σ_q weight_q · softmax(rows · q), (n,) float64.

    Args:
        rows: (n, d) float32, on whatever device.
        queries: (count, d) float32.
        weights: (count,), how many queries each stands for; None: one.
        keep: called with the exponentials of all queries, where they were held at one time.
        table: (n, d) the rows in the precision of this pass (``decoded.DecodedIndex``); None: in float32.

    Raises:
        HashfedError: where the softmax is not finite.

    """
    table = rows if table is None else table
    mass = torch.zeros(len(rows), device=table.device)
    shares = torch.ones(len(queries)) if weights is None else torch.from_numpy(weights)
    step = max(1, min(CHUNK, CHUNK_LOGITS // len(rows)))
    for part, share in zip(queries.split(step), shares.to(table.device).split(step), strict=True):
        powers = torch.empty(len(rows), len(part), dtype=table.dtype, device=table.device)
        sums = _exponentials(table, part, powers)
        if not bool(((sums > PLAIN[0]) & (sums < PLAIN[1])).all()):
            sums = _exponentials(table, part, powers, _peaks(table, part))
        elif len(part) == len(queries):
            keep(Powers(rows, table, queries, powers))
        if powers.dtype == torch.float32:
            mass.addmv_(powers, (share / sums).float())
        else:
            mass += torch.mv(powers, (share / sums).to(powers.dtype))
    if not bool(torch.isfinite(mass.sum())):
        raise ClientDivergedError("the softmax of a client's queries is not finite: the training diverged")
    return np.asarray(mass.cpu().numpy(), np.float64)


def _exponentials(
    rows: torch.Tensor, queries: torch.Tensor, powers: torch.Tensor, shift: torch.Tensor | None = None
) -> torch.Tensor:
    """Write exp(rows · q − shift) of all ``queries`` (count, d) to ``powers`` (n, count); their sums.

    Returns:
        (count,) float64, over the rows.

    """
    sums = torch.zeros(len(queries), dtype=torch.float64, device=rows.device)
    turned = queries.T.contiguous().to(rows.device, rows.dtype)
    step = _tile(rows, len(queries))
    for tile, out in zip(rows.split(step), powers.split(step), strict=True):
        torch.mm(tile, turned, out=out)
        if shift is not None:
            out -= shift
        sums += out.exp_().sum(0, dtype=torch.float32)
    return sums


def _peaks(rows: torch.Tensor, queries: torch.Tensor) -> torch.Tensor:
    """The largest logit of each of ``queries`` (count, d), (count,) float32."""
    tiles = rows.split(_tile(rows, len(queries)))
    turned = queries.T.to(rows.device, rows.dtype)
    return torch.stack([(tile @ turned).amax(0) for tile in tiles]).amax(0)


def _tile(rows: torch.Tensor, queries: int) -> int:
    """Rows multiplied at a time with so many queries; fewer would make the matrix product slow.

    All on a GPU, which has no such cache.
    """
    return len(rows) if rows.is_cuda else max(256, TILE_LOGITS // max(1, queries))


def with_prior(evidence: np.ndarray, prior: np.ndarray, strength: float) -> np.ndarray:
    """``evidence`` (n,), summing to N, plus κ times the distribution of ``prior`` (n,)."""
    total = prior.sum()
    return evidence + prior * (strength / total) if strength > 0 and total > 0 else evidence


def mass_candidates(
    rows: torch.Tensor,
    queries: torch.Tensor,
    prior: np.ndarray,
    strength: float,
    weights: np.ndarray | None = None,
    table: torch.Tensor | None = None,
) -> Candidates:
    """Rows scored by ``softmax_mass`` and ``with_prior``."""
    kept: list[Powers] = []
    mass = softmax_mass(rows, queries, weights, kept.append, table)
    found = Candidates.positive(with_prior(mass, prior, strength))
    return replace(found, powers=kept[0]) if kept else found
