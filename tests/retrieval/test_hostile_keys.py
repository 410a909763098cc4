"""Keys that somebody made up: one line, or a selection; another error would end a server's run."""

import importlib.util
import warnings
from collections.abc import Iterator

import numpy as np
import pytest
import torch

from hashfed.errors import HashfedError
from hashfed.federated.checks import Limits, check_keys
from hashfed.federated.messages import ClientKeys, Declare
from hashfed.federated.server import retrieve
from hashfed.randomness import stream
from hashfed.retrieval import METHODS, Keys, SelectionSettings, build_index, retrieval_settings
from small import fitting

SIZE, DIMENSION, QUERIES = 40, 6, 7
OWN = np.array([3, 8], np.int32)
NO_HNSWLIB = pytest.mark.skipif(importlib.util.find_spec("hnswlib") is None, reason="needs hashfed[hnswlib]")
INSTALLED = [pytest.param(name, marks=NO_HNSWLIB if name == "hnswlib" else ()) for name in METHODS]


def extremes(value: np.ndarray) -> Iterator[np.ndarray]:
    """Arrays of its type and shape that no honest client sends."""
    if value.dtype.kind == "f":
        numbers = [np.nan, np.inf, -np.inf, 3e38, -3e38, 1e-45, -1.0, 0.0]
    else:
        info = np.iinfo(value.dtype)
        numbers = [info.min, info.max, -1 if info.min < 0 else 1, 0, 1]
    for number in numbers:
        yield np.full_like(value, number)
        one = value.copy()
        if one.size:
            one.reshape(-1)[0] = number
        yield one


def made_up(keys: Keys, rng: np.random.Generator) -> Iterator[dict[str, np.ndarray]]:
    """The keys of an honest client, each with something wrong."""
    honest = dict(keys)
    yield {}
    yield honest | {"surprise": np.zeros(3, np.uint8)}
    for name, value in honest.items():
        for changed in (
            *extremes(value),
            value[:0],
            value[:1],
            value[::-1].copy(),
            np.concatenate([value, value]),
            np.sort(rng.integers(0, 100, value.shape).astype(value.dtype), axis=0),
            rng.permutation(value),
            value[..., None],
            np.array(1, value.dtype),
            value.astype(np.float64),
            value.astype(np.int64) if value.dtype.kind != "f" else value.astype(np.float16),
            value != 0,
        ):
            yield honest | {name: changed}
    # Consistent ones: all arrays short, or empty, or of the same extreme.
    for count in (0, 1):
        yield {name: value[:count] for name, value in honest.items()}
    for parts in zip(*(extremes(value) for value in honest.values()), strict=False):
        yield dict(zip(honest, parts, strict=True))


@pytest.mark.parametrize("method", INSTALLED)
@pytest.mark.parametrize("sampling", ["top", "proportional"])
def test_keys_that_are_made_up(method: str, sampling: str) -> None:
    rows = torch.randn(SIZE, DIMENSION, generator=torch.Generator().manual_seed(0)) + 0.7
    queries = torch.randn(QUERIES, DIMENSION, generator=torch.Generator().manual_seed(1))
    small = {"bits": 3, "tables": 5, "transform": "simple-lsh", "norm_ranges": 2, "subspaces": 3, "cells": 8}
    settings = retrieval_settings(**fitting(method, **small))
    selection = SelectionSettings.model_validate({"budget": 0.4, "sampling": sampling, "tail": 0.0})
    index = build_index(rows, settings, np.arange(SIZE), 9)
    honest, declared = dict(index.encoder.encode(queries)), Declare(1, OWN, 12)
    refused, count = 0, 0
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        for keys in made_up(honest, np.random.default_rng(3)):
            count += 1
            message = ClientKeys(1, keys)
            try:
                check_keys(message, 1, Limits(SIZE, QUERIES), index.encoder)
                found, _ = retrieve(
                    index, message, declared, SIZE, DIMENSION, selection, stream(0, "select", count)
                )
            except HashfedError:
                refused += 1
                continue
            assert set(OWN) <= set(found.ids.tolist())
            assert len(found.ids) == 12
            assert np.isfinite(found.log_weight).all()
    # Methods that ask for no keys look at none.
    assert refused > 10 or not honest
