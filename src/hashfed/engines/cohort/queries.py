"""The queries of all clients in passes over many of them: they share the body and the rows."""

from collections.abc import Sequence

import numpy as np
import torch

from hashfed.engines.cohort.joined import JoinedExamples, stacked
from hashfed.federated.client import HASH_BATCH
from hashfed.hashing.stacked_kmeans import alike
from hashfed.models import Model, Parameters
from hashfed.models.stacked_queries import NamedRows, stacked_queries
from hashfed.tasks.examples import Examples

CPU_POSITIONS, GPU_POSITIONS = 1 << 13, 1 << 15
"""Predictions of one pass, but at least those of one piece."""


@torch.no_grad()
def cohort_queries(
    model: Model, parameters: Parameters, clients: Sequence[Examples], joined: JoinedExamples
) -> torch.Tensor:
    """Queries (p, d) of all clients, one's after the other's, of parameters as they travel.

    Where these diverged, they are not finite.
    """
    pieces = [
        (client, start, weights)
        for client, examples in enumerate(clients)
        for start, weights in _pieces(examples.weights)
    ]
    # Alike beside each other, so that little is padded.
    pieces.sort(key=lambda piece: piece[2].sum(), reverse=True)
    sizes = [int(weights.sum()) for *_, weights in pieces]
    most = CPU_POSITIONS if parameters.rows.device.type == "cpu" else GPU_POSITIONS
    found: dict[tuple[int, int], torch.Tensor] = {}
    for group in alike(sizes, most):
        parts = [(client, start + np.arange(len(weights))) for client, start, weights in pieces[group]]
        batch = stacked(joined.batch(parts), {}, parameters.rows.device)
        named = NamedRows.of(model, batch, parameters.tables)
        queries = stacked_queries(model, parameters.body, named, batch)
        for (client, start, _), size, of in zip(pieces[group], sizes[group], queries, strict=True):
            found[client, start] = of[:size]
    return torch.cat([found[place] for place in sorted(found)])


def _pieces(weights: np.ndarray) -> list[tuple[int, np.ndarray]]:
    """Where each piece of a client's examples begins, and how many predictions each of these has."""
    starts = range(0, len(weights), HASH_BATCH)
    return [(start, weights[start : start + HASH_BATCH]) for start in starts]
