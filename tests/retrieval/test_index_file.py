from pathlib import Path

import numpy as np
import pytest
import torch

from hashfed.errors import HashfedError
from hashfed.retrieval import METHODS, Index, RetrievalSettings, build_index, load_index, save_index
from hashfed.retrieval.registry import RESTORE
from hashfed.retrieval.settings import Method
from hashfed.retrieval.simhash_collisions import SimHashCollisionsIndex

SIZE, DIMENSION, SEED = 300, 8, 3
SMALL = {"bits": 4, "tables": 6, "cells": 9, "subspaces": 4, "neighbors": 20, "faiss_factory": "IVF8,Flat"}


def rows(seed: int = 0) -> torch.Tensor:
    return torch.randn(SIZE, DIMENSION, generator=torch.Generator().manual_seed(seed))


def counts() -> np.ndarray:
    return np.arange(SIZE, dtype=np.float64)


def settings(method: Method, **changes: object) -> RetrievalSettings:
    return RetrievalSettings.model_validate({"method": method, **SMALL, **changes})


def answer(index: Index) -> dict[int, float]:
    keys = index.encoder.encode(rows(9)[:5])
    found = index.lookup(keys)
    return dict(zip(found.ids.tolist(), found.scores.tolist(), strict=True))


@pytest.mark.parametrize("method", [method for method in METHODS if method != "hnswlib"])
def test_a_saved_index_answers_as_before(method: Method, tmp_path: Path) -> None:
    chosen = settings(method)
    index = build_index(rows(), chosen, counts(), SEED)
    path = tmp_path / "index.safetensors"
    save_index(path, index, rows(), chosen, counts(), SEED)
    assert answer(load_index(path, rows(), chosen, counts(), SEED)) == answer(index)


@pytest.mark.parametrize(
    "changes",
    [
        {"transform": "none"},
        {"transform": "whiten"},
        {"transform": "sign-alsh", "norm_ranges": 3},
        {"transform": "simple-lsh", "probes": 2},
        {"projections": "pca"},
    ],
)
def test_a_refreshed_simhash_index_keeps_its_fit(changes: dict[str, object], tmp_path: Path) -> None:
    chosen = settings("simhash-collisions", **changes)
    index = build_index(rows(), chosen, counts(), SEED)
    assert isinstance(index, SimHashCollisionsIndex)
    new = rows()
    new[7:20] += 1
    refreshed = index.refresh(new, np.arange(7, 20))
    path = tmp_path / "index.safetensors"
    save_index(path, refreshed, new, chosen, counts(), SEED)
    loaded = load_index(path, new, chosen, counts(), SEED)
    assert isinstance(loaded, SimHashCollisionsIndex)
    assert answer(loaded) == answer(refreshed)
    again = [item.refresh(rows(), np.arange(7, 20)) for item in (loaded, refreshed)]
    assert answer(again[0]) == answer(again[1])


def test_an_index_loads_only_for_what_it_was_built_of(tmp_path: Path) -> None:
    chosen = settings("simhash-union")
    path = tmp_path / "index.safetensors"
    save_index(path, build_index(rows(), chosen, counts(), SEED), rows(), chosen, counts(), SEED)
    stale = settings("simhash-union", refresh=9, counts="declared")
    assert load_index(path, rows(), stale, counts(), SEED) is not None
    wrong = [
        (rows(1), chosen, counts(), SEED, "index of another model (rows of the same shape, other values)"),
        (rows()[:9], chosen, counts()[:9], SEED, "index of another model ((300, 8) rows, here (9, 8))"),
        (rows(), chosen, counts() + 1, SEED, "index with other label counts than these"),
        (rows(), settings("simhash-union", bits=5), counts(), SEED, "index with retrieval.bits = 4, here 5"),
        (rows(), settings("exact"), counts(), SEED, "retrieval.method = 'simhash-union', here 'exact'"),
        (rows(), chosen, counts(), 4, "index with seed = 3, here 4"),
    ]
    for table, asked, prior, seed, message in wrong:
        with pytest.raises(HashfedError) as caught:
            load_index(path, table, asked, prior, seed)
        assert str(caught.value).startswith(f"{path}: ")
        assert message in str(caught.value)


def test_files_that_are_no_index_are_refused(tmp_path: Path) -> None:
    chosen = settings("simhash-union")
    path = tmp_path / "index.safetensors"
    with pytest.raises(HashfedError, match="No such file"):
        load_index(path, rows(), chosen, counts(), SEED)
    path.write_bytes(b"not an index")
    with pytest.raises(HashfedError, match="no index file"):
        load_index(path, rows(), chosen, counts(), SEED)
    save_index(path, build_index(rows(), chosen, counts(), SEED), rows(), chosen, counts(), SEED)
    path.write_bytes(path.read_bytes()[:-50])
    with pytest.raises(HashfedError, match="no index file, or a damaged one"):
        load_index(path, rows(), chosen, counts(), SEED)


@pytest.mark.parametrize("method", sorted(RESTORE))
def test_a_file_with_the_wrong_arrays_is_damaged(method: Method, tmp_path: Path) -> None:
    chosen = settings(method)
    path = tmp_path / "index.safetensors"
    index = build_index(rows(), settings("exact"), counts(), SEED)
    save_index(path, index, rows(), chosen, counts(), SEED)
    with pytest.raises(HashfedError, match="damaged index"):
        load_index(path, rows(), chosen, counts(), SEED)


@pytest.mark.parametrize("method", [method for method in METHODS if method != "hnswlib"])
def test_rows_and_counts_that_make_no_sense_are_refused(method: Method) -> None:
    bad = rows()
    bad[17, 3] = torch.nan
    wrong = [
        (bad, counts(), "row 17 is not finite"),
        (rows().double(), counts(), "rows of type float64 and shape (300, 8): must be float32"),
        (rows()[:0], counts()[:0], "n and d at least 1"),
        (rows(), counts()[1:], "label counts of shape (299,): must be (300,), one for each row"),
        (rows(), counts() - 1, "label count -1.0 of row 0: must be finite and not negative"),
        (rows(), np.where(counts() == 5, np.nan, counts()), "label count nan of row 5"),
    ]
    for table, prior, message in wrong:
        with pytest.raises(HashfedError) as caught:
            build_index(table, settings(method), prior, SEED)
        assert message in str(caught.value)


@pytest.mark.parametrize("method", [method for method in METHODS if method != "hnswlib"])
def test_zero_rows_are_rows_like_others(method: Method) -> None:
    table = rows()
    table[:100] = 0
    found = answer(build_index(table, settings(method), counts(), SEED))
    assert all(np.isfinite(score) for score in found.values())
