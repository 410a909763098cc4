import numpy as np
import pytest

from hashfed.tasks.label_sets import LabelSets
from hashfed.tasks.labels.partition import dirichlet_partition


def examples(count: int, labels: int, each: int = 1) -> LabelSets:
    rng = np.random.default_rng(3)
    chosen = np.stack([np.sort(rng.choice(labels, each, replace=False)) for _ in range(count)])
    ones = np.ones(count, np.int64)
    return LabelSets(
        np.zeros(count, np.int32),
        np.ones(count, np.float32),
        ones,
        chosen.ravel().astype(np.int32),
        each * ones,
    )


def kinds(found: np.ndarray, data: LabelSets, clients: int) -> list[int]:
    """Distinct labels of each client."""
    return [len(data.take(np.flatnonzero(found == client)).own("output")) for client in range(clients)]


@pytest.mark.parametrize("concentration", [0.01, 1.0, 1e5])
def test_all_clients_have_as_many_examples(concentration: float) -> None:
    found = dirichlet_partition(examples(103, 8, 2), 10, concentration, 0)
    assert sorted(np.bincount(found, minlength=10).tolist()) == [10] * 7 + [11] * 3


def test_the_smaller_the_concentration_the_fewer_labels() -> None:
    data = examples(400, 20)
    few, many = (np.mean(kinds(dirichlet_partition(data, 10, a, 0), data, 10)) for a in (0.1, 1000.0))
    assert few < 10
    assert many > 15


def test_a_large_concentration_is_the_data_s_own_shares() -> None:
    data = examples(4000, 2)
    found = dirichlet_partition(data, 4, 1e6, 0)
    shares = [float(data.labels[found == client].mean()) for client in range(4)]
    # 1,000 draws each: five standard deviations are 0.08.
    assert shares == pytest.approx([float(data.labels.mean())] * 4, abs=0.08)


def test_only_the_seed_of_the_partition_decides() -> None:
    data = examples(60, 6)
    first, again, other = (dirichlet_partition(data, 5, 0.5, seed) for seed in (0, 0, 1))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


def test_one_label_and_one_client() -> None:
    assert dirichlet_partition(examples(5, 1), 5, 0.1, 0).tolist() != [0] * 5
    assert dirichlet_partition(examples(5, 3), 1, 0.1, 0).tolist() == [0] * 5
