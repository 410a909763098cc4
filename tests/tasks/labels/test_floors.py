"""The floors, against a plain computation with dense matrices."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
import torch

from hashfed.models.batch import Targets
from hashfed.tasks.federated_data import Client, FederatedData
from hashfed.tasks.label_sets import LabelSets
from hashfed.tasks.labels import floors
from hashfed.tasks.labels.floors import measure_floors
from hashfed.tasks.labels.metrics import LabelMetrics
from hashfed.tasks.labels.names import LabelNames

FEATURES, LABELS = 12, 9


def drawn(count: int, seed: int) -> LabelSets:
    rng = np.random.default_rng(seed)
    features = rng.random((count, FEATURES)) < 0.4
    labels = rng.random((count, LABELS)) < 0.25
    labels[:, 0] |= ~labels.any(1)
    return LabelSets(
        np.nonzero(features)[1].astype(np.int32),
        rng.random(int(features.sum())).astype(np.float32),
        features.sum(1),
        np.nonzero(labels)[1].astype(np.int32),
        labels.sum(1),
    )


def data_of(parts: Sequence[LabelSets], held_out: LabelSets) -> FederatedData[LabelNames]:
    names = LabelNames(
        labels=None,
        features=None,
        examples=50,
        label_counts=(1,) * LABELS,
        documents=50,
        feature_documents=(1,) * FEATURES,
    )
    counts = sum(np.bincount(part.labels, minlength=LABELS) for part in parts)
    clients = tuple(Client(f"c{number}", part) for number, part in enumerate(parts))
    return FederatedData(names, clients, (Client("test/all", held_out),), np.asarray(counts))


def dense(
    examples: LabelSets, ids: np.ndarray, counts: np.ndarray, values: np.ndarray, size: int
) -> np.ndarray:
    found = np.zeros((len(examples), size))
    found[np.repeat(np.arange(len(examples)), counts), ids] = values
    return found


@pytest.mark.parametrize("held", [1 << 24, 300])
def test_as_by_dense_matrices(held: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(floors, "HELD", held)  # a few examples at a time give the same
    train, held_out = drawn(50, 0), drawn(30, 1)
    parts = train.take(np.arange(20)), train.take(np.arange(20, 50))
    counts = np.bincount(train.labels, minlength=LABELS)
    found = measure_floors(data_of(parts, held_out))

    near = [dense(one, one.features, one.feature_counts, one.values, FEATURES) for one in (held_out, train)]
    near = [one / np.maximum(np.linalg.norm(one, axis=1, keepdims=True), 1e-12) for one in near]
    similar = near[0] @ near[1].T
    best = np.argsort(-similar, axis=1)[:, :20]
    labels = dense(train, train.labels, train.label_counts, np.ones(len(train.labels)), LABELS)
    votes = np.stack([row[chosen] @ labels[chosen] for row, chosen in zip(similar, best, strict=True)])
    targets = Targets(
        torch.from_numpy(held_out.labels.astype(np.int64)), torch.from_numpy(held_out.label_counts)
    )
    metrics = LabelMetrics()
    for name, scores in (("neighbors", votes), ("popular", np.tile(counts, (30, 1)))):
        expected = metrics.metrics(metrics.sums(torch.from_numpy(scores.astype(np.float32)), targets))
        for key in ("precision_at_1", "precision_at_5", "propensity_precision_at_1", "ndcg_at_3"):
            assert found[f"{name}_{key}"] == pytest.approx(expected[key]), (name, key)
    assert found["targets"] == 30


def test_which_of_equally_near_examples_come_first_does_not_matter() -> None:
    """Of features that are there or not, many examples are as near as the twentieth."""
    train, held_out = (replace(one, values=np.ones_like(one.values)) for one in (drawn(50, 0), drawn(30, 1)))
    first, other = (
        measure_floors(data_of([train.take(np.random.default_rng(seed).permutation(50))], held_out))
        for seed in (0, 1)
    )
    assert first == pytest.approx(other)
    assert first["neighbors_precision_at_1"] > 0


def test_who_has_no_features_has_no_neighbors() -> None:
    train, held_out = drawn(50, 0), drawn(2, 1)
    bare = LabelSets(
        held_out.features[:0],
        held_out.values[:0],
        np.zeros_like(held_out.feature_counts),
        held_out.labels,
        held_out.label_counts,
    )
    found = measure_floors(data_of([train], bare))
    # Every label has the same score: each is as often among the first as any other.
    assert found["neighbors_precision_at_1"] == pytest.approx(len(bare.labels) / (2 * LABELS))
