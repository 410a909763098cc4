import math

import numpy as np
import pytest

from hashfed.tasks.labels.propensities import inverse_propensities
from hashfed.tasks.labels.values import feature_documents, tf_idf
from small_labels import label_sets

DATA = label_sets(({0: 1, 1: 3}, [0]), ({1: 1}, [1]), ({1: 2, 2: 1}, [0, 1]), ({}, [1]))


def test_by_hand() -> None:
    documents = feature_documents(DATA, 4)
    assert documents.tolist() == [1, 3, 1, 0]
    found = tf_idf(DATA, documents, 4)
    first = np.array([math.log(4), (1 + math.log(3)) * math.log(4 / 3)])
    last = np.array([(1 + math.log(2)) * math.log(4 / 3), math.log(4)])
    expected = [*first / np.linalg.norm(first), 1.0, *last / np.linalg.norm(last)]
    assert found.values.tolist() == pytest.approx(expected, rel=1e-6)
    assert found.values.dtype == np.float32


def test_what_is_in_every_example_is_nothing() -> None:
    alone = label_sets(({0: 2}, [0]), ({0: 5}, [0]))
    assert tf_idf(alone, np.array([2]), 2).values.tolist() == [0.0, 0.0]


def test_rare_labels_have_small_propensities() -> None:
    found = inverse_propensities(np.array([0, 1, 10, 100]), 100)
    scale = (math.log(100) - 1) * 2.5**0.55
    assert found.tolist() == pytest.approx([1 + scale * (n + 1.5) ** -0.55 for n in (0, 1, 10, 100)])
