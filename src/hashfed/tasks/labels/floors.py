"""What no model may fall behind: the most frequent labels, and those of the nearest training examples."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from torch.nn import functional

from hashfed.models.protocol import INPUT, OUTPUT
from hashfed.tasks.federated_data import Client, FederatedData
from hashfed.tasks.label_sets import LabelSets
from hashfed.tasks.labels.metrics import LabelMetrics
from hashfed.tasks.metrics import Sums, add_sums

NEIGHBORS = 20
SMALLEST = float(np.finfo(np.float32).tiny)
"""A cosine of those who have a feature in common."""
HELD = 1 << 24
"""Numbers of one matrix that are held at a time: 64 MiB."""
MOST = 256
"""Held-out examples that are worked on together."""


def measure_floors(data: FederatedData[Any]) -> dict[str, float]:
    """Metrics of both floors on the held-out examples.

    ``popular`` scores a label by how many training examples have it; ``neighbors`` by the summed cosines of
    those of the 20 nearest training examples that have it, of the values that a model reads. Where several
    are as near as the twentieth, each counts for its share of the places left. Nothing of size examples x
    features is made.
    """
    train, held_out = _joined(data.train), _joined(data.held_out)
    frequent = torch.from_numpy(data.label_counts.astype(np.float32))
    metrics = LabelMetrics()
    found: dict[str, list[Sums]] = {"popular": [], "neighbors": []}
    for some in _parts(held_out, max(1, min(MOST, HELD // max(data.size, len(train), data.sizes[INPUT])))):
        batch = some.bind({INPUT: None, OUTPUT: None}, torch.device("cpu")).batch(torch.arange(len(some)))
        found["popular"].append(metrics.sums(frequent.expand(len(some), -1), batch.targets))
        found["neighbors"].append(
            metrics.sums(_votes(train, some, data.sizes[INPUT], data.size), batch.targets)
        )
    measured = {name: metrics.metrics(add_sums(parts)) for name, parts in found.items()}
    floors = {
        f"{name}_{key}": value
        for name, one in measured.items()
        for key, value in one.items()
        if key != "targets"
    }
    return floors | {"targets": len(held_out)}


def _votes(train: LabelSets, some: LabelSets, features: int, labels: int) -> torch.Tensor:
    """Summed cosines of the nearest training examples that have each label: (b, n) float32."""
    wanted = torch.zeros(features, len(some))
    wanted[some.features, _owners(some)] = _normalized(some)
    similar = functional.embedding_bag(
        torch.from_numpy(train.features.astype(np.int64)),
        wanted,
        torch.from_numpy(np.cumsum(train.feature_counts) - train.feature_counts),
        mode="sum",
        per_sample_weights=_normalized(train),
    )
    count = min(NEIGHBORS, len(train))
    best = similar.topk(count, dim=0).values
    last, above = best[-1], (best > best[-1]).sum(0)
    nearest, owners = (similar >= last.clamp(min=SMALLEST)).nonzero().unbind(1)
    tied = torch.bincount(owners, minlength=len(some)) - above
    nearness = similar[nearest, owners].double()
    nearness *= torch.where(nearness > last[owners], 1.0, ((count - above) / tied)[owners])
    found = train.take(nearest.numpy())
    cells = np.repeat(owners.numpy() * labels, found.label_counts) + found.labels
    weights = np.repeat(nearness.numpy(), found.label_counts)
    votes = np.bincount(cells, weights, minlength=len(some) * labels)
    return torch.from_numpy(votes.reshape(len(some), labels).astype(np.float32))


def _owners(examples: LabelSets) -> np.ndarray:
    """The example of each feature."""
    return np.repeat(np.arange(len(examples)), examples.feature_counts)


def _normalized(examples: LabelSets) -> torch.Tensor:
    """Values, each example at length 1: (f,) float32."""
    owners = _owners(examples)
    squares = np.bincount(owners, weights=examples.values.astype(np.float64) ** 2, minlength=len(examples))
    values = examples.values / np.sqrt(np.where(squares > 0, squares, 1))[owners]
    return torch.from_numpy(values.astype(np.float32))


def _joined(clients: Sequence[Client]) -> LabelSets:
    first, *others = (client.examples for client in clients)
    joined = first.join(others)
    if not isinstance(joined, LabelSets):
        raise TypeError("no sets of labels")
    return joined


def _parts(examples: LabelSets, most: int) -> Iterator[LabelSets]:
    for start in range(0, len(examples), most):
        yield examples.take(np.arange(start, min(start + most, len(examples))))
