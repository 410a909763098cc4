"""What is to be known of a data set of labels."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from hashfed.models.protocol import INPUT, OUTPUT
from hashfed.tasks.federated_data import FederatedData


def label_facts(data: FederatedData[Any]) -> dict[str, float]:
    """Of the training examples and clients."""
    columns = [client.examples.columns() for client in data.train]
    examples = sum(len(one["label_counts"]) for one in columns)
    return {
        "features": data.sizes[INPUT],
        "features per example, mean": _total(columns, "features") / examples,
        "labels per example, mean": _total(columns, "labels") / examples,
        "labels with an example": int((data.label_counts > 0).sum()),
        **_spread("examples per client", [len(client.examples) for client in data.train]),
        **_spread("features per client", [len(client.examples.own(INPUT)) for client in data.train]),
        **_spread("labels per client", [len(client.examples.own(OUTPUT)) for client in data.train]),
    }


def _total(columns: Sequence[Mapping[str, np.ndarray]], name: str) -> int:
    return sum(len(one[name]) for one in columns)


def _spread(name: str, counts: Sequence[int]) -> dict[str, float]:
    values = np.array(counts)
    return {
        f"{name}, median": float(np.median(values)),
        f"{name}, mean": float(values.mean()),
        f"{name}, 90th percentile": float(np.percentile(values, 90)),
        f"{name}, max": int(values.max()),
    }
