"""Random configurations of every setting there is, for tests that ask whether any of them misbehaves."""

import types
from contextlib import suppress
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

import numpy as np
from pydantic.fields import FieldInfo

from hashfed.config import make_config, setting_fields
from hashfed.errors import HashfedError
from hashfed.retrieval import METHODS

SIZES: dict[str, list[Any]] = {
    "data.vocabulary": [20, 5, 40],
    "data.sentence_length": [6, 1, 2, 70],
    "data.tokens_per_client": [5000, 30, 1],
    "data.sentences_per_client": [None, 3, 1],
    "data.clients": [None, 10, 3],
    "data.held_out_clients": [None, 1],
    "data.word_counts": [None],
    "data.format": [None, "json-lines"],
    "data.client_column": [None],
    "data.text_column": [None],
    "model.embedding": [24, 1, 3, 8],
    "model.attention": [8, 2, 12],
    "model.heads": [1, 2],
    "model.ffn": [1, 16],
    "model.blocks": [1, 2],
    "retrieval.bits": [3, 1, 8, 16],
    "retrieval.tables": [6, 1, 64],
    "retrieval.centroids": [4, 1, 32, 100],
    "retrieval.cells": [5, 1, 256],
    "retrieval.subspaces": [1, 2, 4, 12],
    "retrieval.probes": [0, 1, 3],
    "retrieval.faiss_factory": ["Flat", "HNSW8", "IVF4,Flat", "IVF2,PQ2", "SQ8", "nonsense"],
    "selection.extra": [None, 0, 0.05, 0.5, 1, 7, 1000],
    "selection.planes": [4, 0, 1, 32, 100],
    "selection.max_rows": [None, 1, 10, 1000],
    "selection.max_bytes": [None, 1, 500, 10**6],
    "client.batch_size": [2, 1, 100],
    "client.epochs": [1, 3],
    "client.examples": [6, 1, 64],
    "evaluation.every": [1, 2],
    "evaluation.examples": [None, 1, 10, 4000],
    "evaluation.final_examples": [None, 1, 10],
    "cohort": [3, 1, 8],
    "workers": [1],
    "device": ["cpu"],
    "tensorboard": [False],
    "flower.clients": [None, 1, 8],
    "flower.clients_per_node": [100_000],
    "flower.patience": [600.0],
    "flower.deadline": [600.0],
    "flower.slices": [None],
    "flower.slices_url": [None],
    "data.source": [None],
    "output": [None],
    "rounds": [2],
}
"""Values of settings that decide how long a run takes, or that name files, the usual one first; others are
drawn from their type."""


def random_tree(rng: np.random.Generator, source: Path, output: Path, share: float = 0.2) -> dict[str, Any]:
    """Nested settings of a tiny run of two rounds; others than ``SIZES`` are set with chance ``share``."""
    method = list(METHODS)[int(rng.integers(len(METHODS)))]
    tree: dict[str, Any] = {}
    for name, field in setting_fields(make_config({"retrieval": {"method": method}})):
        fixed = name in SIZES
        value = some(rng, SIZES[name]) if fixed else draw(rng, field)
        # The sizes are always drawn, and the method: the defaults of the former are large.
        if fixed or name == "retrieval.method" or rng.random() < share:
            *groups, leaf = name.split(".")
            at = tree
            for group in groups:
                at = at.setdefault(group, {})
            at[leaf] = value
    tree["data"]["source"] = str(source)
    tree["output"] = str(output)
    return tree


def mostly_sound_tree(rng: np.random.Generator, source: Path, output: Path) -> dict[str, Any]:
    """The same, drawn anew up to four times where settings do not go together."""
    for _ in range(4):
        tree = random_tree(rng, source, output)
        with suppress(HashfedError):
            make_config(tree)
            break
    return tree


def some(rng: np.random.Generator, values: list[Any]) -> Any:
    """One of the values; the first in half of all cases, so that not all runs end at some odd size."""
    return values[int(rng.integers(len(values)))] if rng.random() < 0.5 else values[0]


def draw(rng: np.random.Generator, field: FieldInfo) -> Any:
    """A value that the setting's own bounds allow: an option, a bound, or something near the default."""
    kind = field.annotation
    if get_origin(kind) in (types.UnionType, Any):
        if rng.random() < 0.5:
            return None
        kind = next(part for part in get_args(kind) if part is not type(None))
    if get_origin(kind) is Literal:
        options = get_args(kind)
        return options[int(rng.integers(len(options)))]
    if kind is bool:
        return bool(rng.random() < 0.5)
    bounds = {
        name: float(value)
        for item in field.metadata
        for name in ("gt", "ge", "lt", "le")
        if (value := getattr(item, name, None)) is not None
    }
    low = bounds.get("ge", bounds.get("gt", 0.0))
    high = bounds.get("le", bounds.get("lt", 1e30))
    start = float(field.default or low or 1.0)
    value = [low, min(high, 1e3), start * 10 ** rng.uniform(-2, 2), start * 10 ** rng.uniform(-6, 6)][
        int(rng.integers(4))
    ]
    if kind is int:
        return int(min(max(value, np.ceil(low)), min(high, 100)))
    if kind is float:
        value = min(max(value, low), high)
        excluded = value == bounds.get("gt") or value == bounds.get("lt")
        return start if excluded else float(value)
    raise TypeError(f"a setting of type {kind} needs values in SIZES")
