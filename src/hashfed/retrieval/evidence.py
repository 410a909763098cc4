"""From a client's evidence to one score per row: expected softmax mass, smoothed by the public prior.

What a client needs is the mean of its queries' softmax, m_i = (1/N) Σ_q p(i | q): the rows with the most
of it cover the most probability (the maximum over queries, which nearest-neighbour search returns, does
not). An index estimates it from keys as a distribution e. With a Dirichlet prior of strength κ around the
public label distribution p, N queries of evidence give the posterior mean

    score_i = N · e_i + κ · p_i

so a client with few queries gets mostly the prior, one with many mostly its own evidence.
"""

import numpy as np
import torch

from hashfed.errors import HashfedError
from hashfed.retrieval.protocol import Candidates

CHUNK = 256
"""Most queries scored at a time."""
CHUNK_LOGITS = 1 << 25
"""Most logits held at a time (128 MiB), whatever n."""


def softmax_mass(rows: torch.Tensor, queries: torch.Tensor, weights: np.ndarray | None = None) -> np.ndarray:
    """Σ_q weight_q · softmax(rows · q), (n,) float64.

    Args:
        rows: (n, d) float32.
        queries: (count, d) float32.
        weights: (count,), how many queries each stands for; None: one.

    Raises:
        HashfedError: where the softmax is not finite.

    """
    mass = torch.zeros(len(rows))
    start = 0
    for part in queries.split(max(1, min(CHUNK, CHUNK_LOGITS // len(rows)))):
        probabilities = torch.softmax(part @ rows.T, dim=-1)
        if weights is None:
            mass += probabilities.sum(0)
        else:
            mass += torch.from_numpy(weights[start : start + len(part)].astype(np.float32)) @ probabilities
        start += len(part)
    if not bool(torch.isfinite(mass.sum())):
        raise HashfedError("the softmax of a client's queries is not finite: the training diverged")
    return np.asarray(mass.numpy(), np.float64)


def with_prior(evidence: np.ndarray, prior: np.ndarray, strength: float) -> np.ndarray:
    """``evidence`` (n,), summing to N, plus κ times the distribution of ``prior`` (n,)."""
    total = prior.sum()
    return evidence + strength * prior / total if strength > 0 and total > 0 else evidence


def mass_candidates(
    rows: torch.Tensor,
    queries: torch.Tensor,
    prior: np.ndarray,
    strength: float,
    weights: np.ndarray | None = None,
) -> Candidates:
    """Rows scored by ``softmax_mass`` and ``with_prior``."""
    return Candidates.positive(with_prior(softmax_mass(rows, queries, weights), prior, strength))
