"""What a feature's value becomes before a model reads it."""

from dataclasses import replace

import numpy as np

from hashfed.tasks.label_sets import LabelSets


def feature_documents(examples: LabelSets, features: int) -> np.ndarray:
    """In how many examples each feature is: (features,) int64."""
    return np.bincount(examples.features, minlength=features).astype(np.int64)


COUNTED = "must be a count, at least 1, with data.values = tf-idf (data.values = raw takes any)"
"""What is said of values that ``tf_idf`` does not take."""


def tf_idf(examples: LabelSets, documents: np.ndarray, count: int) -> LabelSets:
    """Values (1 + log tf)·log(N/df), then each example at length 1 (Salton and Buckley 1988).

    Args:
        examples: whose values are counts, at least 1.
        documents: (V,) df: in how many examples each feature is, of those that are trained on; 0 counts as 1.
        count: N, number of those.

    """
    idf = np.log(max(1, count) / np.maximum(1, documents))
    values = (1 + np.log(examples.values.astype(np.float64))) * idf[examples.features]
    owners = np.repeat(np.arange(len(examples)), examples.feature_counts)
    norms = np.sqrt(np.bincount(owners, weights=values**2, minlength=len(examples)))
    values /= np.where(norms > 0, norms, 1)[owners]
    return replace(examples, values=values.astype(np.float32))
