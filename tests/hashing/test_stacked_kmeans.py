"""Groups of many clients at once are those of each by itself."""

import numpy as np
import torch

from hashfed.hashing.kmeans import kmeans
from hashfed.hashing.stacked_kmeans import kmeans_many


def test_two_groups_beside_a_single_vector() -> None:
    vectors = [torch.tensor([[0.0], [1.0], [10.0], [11.0]]), torch.tensor([[5.0]])]
    found, sizes = kmeans_many(vectors, 2, 0)
    centroids = found.split([len(of) for of in sizes])
    assert sorted(centroids[0].flatten().tolist()) == [0.5, 10.5]
    assert sizes[0].tolist() == [2, 2]
    assert (centroids[1].tolist(), sizes[1].tolist()) == ([[5.0]], [1])


def test_each_client_s_groups_are_those_of_its_own() -> None:
    """Also with equal vectors, of which groups end empty, and fewer vectors than groups."""
    rng = np.random.default_rng(0)
    vectors = [torch.from_numpy(rng.standard_normal((count, 3), np.float32)) for count in (1, 2, 7, 40, 90)]
    vectors += [torch.ones(9, 3), torch.ones(20, 3).index_fill(0, torch.arange(5), 2.0)]
    every, sizes = kmeans_many(vectors, 8, 3)
    centroids = every.split([len(of) for of in sizes])
    for of, found, held in zip(vectors, centroids, sizes, strict=True):
        expected, numbers = kmeans(of, 8, 3)
        torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-6)
        assert held.tolist() == numbers.tolist()
