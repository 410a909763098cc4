"""What is told of data: sizes, the rows that clients need, and a checksum."""

import hashlib
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from hashfed.tasks.federated_data import Client, FederatedData, Measured

Floors = Callable[[FederatedData[Any]], dict[str, Any]]
"""``Task.measure_floors``."""


def sizes(train: Sequence[Client], held_out: Sequence[Client]) -> dict[str, int]:
    """Numbers of clients, examples and predictions."""
    return {
        "train_clients": len(train),
        "train_examples": sum(len(client.examples) for client in train),
        "train_predictions": sum(client.examples.weight for client in train),
        "held_out_clients": len(held_out),
        "held_out_examples": sum(len(client.examples) for client in held_out),
    }


def own_rows(train: Sequence[Client], tables: Sequence[str]) -> dict[str, float]:
    """How many rows a client's data need of ``tables``, which are one table."""
    return summary(np.array([len(client.examples.own(*tables)) for client in train]))


def summary(own: np.ndarray) -> dict[str, float]:
    """The same of how many each client needs, (c,) integers."""
    return {
        "own_rows_median": float(np.median(own)),
        "own_rows_90th_percentile": float(np.percentile(own, 90)),
        "own_rows_max": int(own.max()),
    }


def key_of(tables: Sequence[str]) -> str:
    """By which ``Measured.own_rows`` has them."""
    return "+".join(sorted(tables))


def facts(data: FederatedData[Any], tables: Sequence[str], floors: Floors) -> dict[str, Any]:
    """Sizes, own rows, floors and checksum; measured, unless that was done before.

    Args:
        data: of any task.
        tables: what the model reads from and finds in the output table, by their names in examples.
        floors: measures those of the task.

    """
    known, key = data.measured, key_of(tables)
    if known is None or key not in known.own_rows:
        known = Measured(
            sizes(data.train, data.held_out), {key: own_rows(data.train, tables)}, floors(data), digest(data)
        )
    return {
        "rows": data.size,
        **known.sizes,
        **known.own_rows[key],
        "floors": dict(known.floors),
        "sha256": known.sha256,
    }


def digest(data: FederatedData[Any]) -> str:
    """A checksum of the rows' names and of every client's name and examples."""
    found = hashlib.sha256(data.names.to_json().encode())
    for clients in (data.train, data.held_out):
        for client in clients:
            found.update(client.name.encode())
            for values in client.examples.columns().values():
                found.update(values.tobytes())
    return found.hexdigest()
