import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st

from hashfed.hashing.cohort_kmeans import GroupSums, first_centroids, step_centroids


def generator() -> np.random.Generator:
    return np.random.default_rng(5)


def added(one: GroupSums, other: GroupSums) -> GroupSums:
    return GroupSums(one.sums + other.sums, one.sizes + other.sizes, one.squares + other.squares)


@given(st.integers(0, 10**6))
def test_clients_sums_add_up_to_those_of_all_vectors(seed: int) -> None:
    rng = np.random.default_rng(seed)
    vectors = torch.from_numpy(rng.normal(size=(30, 3)).astype(np.float32))
    centroids = torch.from_numpy(rng.normal(size=(4, 3)).astype(np.float32))
    cut = int(rng.integers(1, 29))
    whole = GroupSums.of(vectors, centroids)
    parts = added(GroupSums.of(vectors[:cut], centroids), GroupSums.of(vectors[cut:], centroids))
    assert torch.equal(parts.sizes, whole.sizes)
    assert torch.allclose(parts.sums, whole.sums, atol=1e-5)
    assert torch.allclose(parts.squares, whole.squares, rtol=1e-5)


def test_a_step_by_hand() -> None:
    vectors = torch.tensor([[0.0, 0.0], [2.0, 0.0], [10.0, 0.0]])
    centroids = torch.tensor([[0.0, 0.0], [9.0, 0.0]])
    found = GroupSums.of(vectors, centroids)
    assert found.sizes.tolist() == [2, 1]
    assert found.squares.tolist() == [4, 100]
    assert step_centroids(centroids, found, generator()).tolist() == [[1, 0], [10, 0]]


def test_a_centroid_without_queries_joins_the_fullest_within_its_scatter() -> None:
    rng = generator()
    vectors = torch.from_numpy(rng.normal(3, 0.5, (400, 8)).astype(np.float32))
    centroids = torch.stack([torch.full((8,), 3.0), torch.full((8,), -100.0), torch.full((8,), -200.0)])
    moved = step_centroids(centroids, GroupSums.of(vectors, centroids), generator())
    assert torch.allclose(moved[0], vectors.mean(0), atol=1e-4)
    for empty in moved[1:]:
        assert 0 < float((empty - moved[0]).norm()) < 10 * 0.5 * 8**0.5
    # From then on each has its share.
    assert bool((GroupSums.of(vectors, moved).sizes > 0).all())


def test_where_all_queries_are_one_nothing_is_moved_apart() -> None:
    vectors = torch.ones(5, 2)
    centroids = torch.tensor([[1.0, 1.0], [-4.0, 0.0]])
    assert torch.equal(step_centroids(centroids, GroupSums.of(vectors, centroids), generator()), centroids)


def test_first_centroids_are_distinct_rows() -> None:
    rows = torch.arange(10.0)[:, None].repeat(1, 2)
    found = first_centroids(rows, 4, generator())
    assert len({float(row[0]) for row in found}) == 4
    assert len(first_centroids(rows, 99, generator())) == 10
