import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from hashfed.hashing.kmeans import kmeans


def vectors(count: int, dimension: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(count, dimension, generator=torch.Generator().manual_seed(seed))


@given(st.integers(1, 40), st.integers(1, 50), st.integers(1, 5), st.integers(0, 5))
def test_sizes_and_weighted_centroids_sum_to_the_vectors(
    count: int, clusters: int, dimension: int, seed: int
) -> None:
    given_vectors = vectors(count, dimension, seed)
    centroids, sizes = kmeans(given_vectors, clusters, seed)
    assert len(centroids) == len(sizes) <= min(clusters, count)
    assert sizes.sum() == count
    assert sizes.min() >= 1
    total = torch.from_numpy(sizes).float() @ centroids
    torch.testing.assert_close(total, given_vectors.sum(0), rtol=1e-4, atol=1e-4)


def test_centroids_are_the_means_of_separate_groups() -> None:
    groups = torch.tensor([[0.0, 0.0], [0.0, 2.0], [100.0, 0.0], [102.0, 0.0], [104.0, 0.0]])
    # Whichever two vectors it starts from, k-means ends in the two groups.
    for seed in range(8):
        centroids, sizes = kmeans(groups, 2, seed)
        assert sorted(zip(centroids.tolist(), sizes.tolist(), strict=True)) == [([0, 1], 2), ([102, 0], 3)]


@pytest.mark.parametrize("clusters", [6, 7, 100])
def test_with_enough_clusters_the_centroids_are_the_vectors(clusters: int) -> None:
    given_vectors = vectors(6, 3)
    centroids, sizes = kmeans(given_vectors, clusters, 1)
    assert sizes.tolist() == [1] * 6
    torch.testing.assert_close(centroids, given_vectors)


def test_equal_vectors_make_one_group() -> None:
    centroids, sizes = kmeans(torch.ones(5, 2), 3, 0)
    assert centroids.tolist() == [[1, 1]]
    assert sizes.tolist() == [5]


def test_one_cluster_is_the_mean() -> None:
    given_vectors = vectors(30, 4)
    centroids, sizes = kmeans(given_vectors, 1, 0)
    torch.testing.assert_close(centroids[0], given_vectors.mean(0))
    assert sizes.tolist() == [30]


def test_the_same_seed_gives_the_same_groups() -> None:
    first, again = kmeans(vectors(200, 5), 20, 3), kmeans(vectors(200, 5), 20, 3)
    assert torch.equal(first[0], again[0])
    np.testing.assert_array_equal(first[1], again[1])
    assert not torch.equal(kmeans(vectors(200, 5), 20, 4)[0][:5], first[0][:5])


def test_no_vectors_give_no_groups() -> None:
    centroids, sizes = kmeans(torch.zeros(0, 3), 4, 0)
    assert centroids.shape == (0, 3)
    assert sizes.shape == (0,)
    assert sizes.dtype == np.int64


def test_the_vectors_stay_as_they_are() -> None:
    given_vectors = vectors(10, 3)
    before = given_vectors.clone()
    kmeans(given_vectors, 4, 0)
    assert torch.equal(given_vectors, before)
