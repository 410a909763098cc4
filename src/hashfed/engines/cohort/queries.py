"""The queries of all clients in passes over many of them: they share the body and the rows."""

from collections.abc import Iterator, Sequence

import torch

from hashfed.federated.client import HASH_BATCH
from hashfed.hashing.stacked_kmeans import alike
from hashfed.models import Batch, Model, Parameters
from hashfed.models.protocol import as_named
from hashfed.models.stacked_batch import StackedBatch
from hashfed.models.stacked_queries import NamedRows, stacked_queries
from hashfed.tasks.examples import Examples

POSITIONS = 1 << 13
"""Predictions of one pass, but at least those of one piece."""


def cohort_queries(model: Model, parameters: Parameters, clients: Sequence[Examples]) -> list[torch.Tensor]:
    """Queries (p, d) of each client, of parameters as they travel; where these diverged, not finite."""
    pieces = [
        (client, number, batch)
        for client, examples in enumerate(clients)
        for number, batch in enumerate(_pieces(model, examples))
    ]
    # Alike beside each other, so that little is padded.
    pieces.sort(key=lambda piece: len(piece[2].targets), reverse=True)
    found: list[dict[int, torch.Tensor]] = [{} for _ in clients]
    for group in alike([len(piece[2].targets) for piece in pieces], POSITIONS):
        some = pieces[group]
        queries = _queries(model, parameters, [batch for _, _, batch in some])
        for (client, number, batch), of in zip(some, queries, strict=True):
            found[client][number] = of[: len(batch.targets)]
    return [torch.cat([parts[number] for number in sorted(parts)]) for parts in found]


def _pieces(model: Model, examples: Examples) -> Iterator[Batch]:
    everything = as_named(model, dict.fromkeys(model.tables))
    bound = examples.bind(everything, torch.device("cpu"))
    for index in torch.arange(len(examples)).split(HASH_BATCH):
        yield model.pack(bound.batch(index), stacked=True)


@torch.no_grad()
def _queries(model: Model, parameters: Parameters, batches: Sequence[Batch]) -> torch.Tensor:
    """(b, p, d)."""
    stacked = StackedBatch.of(batches).to(parameters.rows.device)
    named = NamedRows.of(model, stacked, parameters.tables)
    return stacked_queries(model, parameters.body, named, stacked)
