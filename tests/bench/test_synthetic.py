import numpy as np

from hashfed.bench.synthetic import synthetic_text
from hashfed.tasks.next_word.vocabulary import SPECIAL


def test_sentences_are_full_and_within_the_vocabulary() -> None:
    data = synthetic_text(50, 3, 4, 6)
    assert data.size == 54
    assert [len(client.examples) for client in data.train] == [4, 4, 4]
    ids = np.concatenate([client.examples.columns()["targets"].ravel() for client in data.train])
    assert ids.min() >= len(SPECIAL)
    assert ids.max() < 54
    assert data.label_counts.sum() == len(ids) == 3 * 4 * 6
    assert np.array_equal(data.label_counts, np.bincount(ids, minlength=54))


def test_targets_follow_the_inputs() -> None:
    columns = synthetic_text(50, 1, 2, 6).train[0].examples.columns()
    assert np.array_equal(columns["inputs"][:, 1:], columns["targets"][:, :-1])


def test_small_ranks_are_frequent_as_under_zipfs_law() -> None:
    counts = synthetic_text(1000, 20, 100, 20).label_counts[len(SPECIAL) :]
    # P(rank ≤ r) = log(r + 1)/log(1000) for floored log-uniform ranks: half of the text up to r = 31.
    assert abs(counts[:31].sum() / counts.sum() - np.log(32) / np.log(1000)) < 0.01
