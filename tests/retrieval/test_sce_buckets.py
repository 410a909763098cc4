"""SCE's buckets, against a search over all rows."""

import numpy as np
import pytest
import torch

from hashfed.errors import HashfedError
from hashfed.retrieval import Keys, build_index, retrieval_settings
from hashfed.retrieval.sce_buckets import SceBucketsEncoder, SceBucketsIndex

DIMENSION, SEED = 6, 3


def vectors(count: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(count, DIMENSION, generator=torch.Generator().manual_seed(seed))


def index_of(rows: torch.Tensor, **more: object) -> SceBucketsIndex:
    settings = retrieval_settings("sce-buckets", **{"buckets": 3, "bucket_rows": 4, **more})
    index = build_index(rows, settings, np.zeros(len(rows)), SEED)
    assert isinstance(index, SceBucketsIndex)
    return index


def test_the_candidates_are_the_union_of_the_best_of_each_mixture() -> None:
    rows = vectors(50)
    index = index_of(rows)
    keys = index.encoder.encode(vectors(9, 1))
    best = np.argsort(-(keys["mixtures"].astype(np.float32) @ rows.numpy().T), 1)[:, :4]
    expected: dict[int, float] = {}
    for bucket in best:
        for place, row in enumerate(bucket.tolist(), start=1):
            expected[row] = max(expected.get(row, 0), 1 / place)
    found = index.lookup(keys)
    assert dict(zip(found.ids.tolist(), found.scores.tolist(), strict=True)) == expected


def test_a_mixture_of_one_query_is_that_query_or_its_opposite() -> None:
    query = torch.tensor([[3.0, 4, 0, 0, 0, 0]])
    mixtures = SceBucketsEncoder(DIMENSION, 8, SEED).encode(query)["mixtures"]
    np.testing.assert_allclose(np.abs(mixtures), np.tile([0.6, 0.8, 0, 0, 0, 0], (8, 1)), atol=1e-3)
    assert len(np.unique(np.sign(mixtures[:, 0]))) == 2


def test_mixtures_have_normal_weights() -> None:
    """Of d orthogonal queries the coordinates are the weights themselves, up to a length."""
    mixtures = SceBucketsEncoder(DIMENSION, 4000, SEED).encode(torch.eye(DIMENSION))["mixtures"]
    covariance = np.cov(mixtures.astype(np.float64).T)
    np.testing.assert_allclose(covariance, np.eye(DIMENSION) / DIMENSION, atol=0.02)


def test_more_rows_than_there_are_is_all_and_no_query_asks_for_none() -> None:
    rows = vectors(5)
    index = index_of(rows, bucket_rows=100)
    assert len(index.lookup(index.encoder.encode(vectors(9, 1))).ids) == 5
    keys = index.encoder.encode(vectors(0))
    assert keys["mixtures"].shape == (0, DIMENSION)
    assert len(index.lookup(keys).ids) == 0
    assert index.scored(keys) == 0


@pytest.mark.parametrize(
    ("keys", "problem"),
    [
        ({}, "keys []: this index needs mixtures"),
        (
            {"mixtures": np.zeros((3, 6), np.float32)},
            "mixtures of type float32 and shape (3, 6): must be float16, (3, 6)",
        ),
        (
            {"mixtures": np.zeros((2, 6), np.float16)},
            "mixtures of type float16 and shape (2, 6): must be float16, (3, 6)",
        ),
        (
            {"mixtures": np.full((3, 6), np.nan, np.float16)},
            "mixtures: must be finite; the training diverged?",
        ),
    ],
)
def test_keys_that_do_not_fit_are_refused(keys: Keys, problem: str) -> None:
    with pytest.raises(HashfedError) as caught:
        index_of(vectors(20)).lookup(keys)
    assert str(caught.value) == problem
