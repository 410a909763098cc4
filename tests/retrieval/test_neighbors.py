"""Search with the queries themselves: ``faiss`` and ``hnswlib``."""

import importlib.util
import math
import subprocess
import sys
from typing import Any

import numpy as np
import pytest
import torch

from hashfed.errors import HashfedError
from hashfed.retrieval import Index, build_index, neighbors, retrieval_settings
from hashfed.retrieval.faiss_library import reason, single_threaded_faiss, without_warnings
from hashfed.retrieval.neighbors import neighbor_mass
from small import fitting

SIZE, DIMENSION, SEED = 120, 8, 3
NO_HNSWLIB = pytest.mark.skipif(importlib.util.find_spec("hnswlib") is None, reason="needs hashfed[hnswlib]")
BOTH = ["faiss", pytest.param("hnswlib", marks=NO_HNSWLIB)]


def rows() -> torch.Tensor:
    return torch.randn(SIZE, DIMENSION, generator=torch.Generator().manual_seed(0))


def queries(count: int = 15) -> torch.Tensor:
    return torch.randn(count, DIMENSION, generator=torch.Generator().manual_seed(1))


def prior() -> np.ndarray:
    return np.random.default_rng(2).integers(0, 30, SIZE)


def index_of(method: str, **more: object) -> Index:
    none = {} if method == "exact" else {"prior_strength": 0}
    return build_index(rows(), retrieval_settings(method, **{**none, **more}), prior(), SEED)


def mass(index: Index, queries: torch.Tensor) -> np.ndarray:
    """The score of every row, zero where it is no candidate."""
    found = index.lookup(index.encoder.encode(queries))
    scores = np.zeros(SIZE)
    scores[found.ids] = found.scores
    return scores


def brute_force(count: int) -> np.ndarray:
    """The softmax over each query's ``count`` largest inner products, summed."""
    expected = np.zeros(SIZE)
    for query in queries():
        products = (rows() @ query).double().numpy()
        best = np.argsort(-products)[:count]
        expected[best] += np.exp(products[best]) / np.exp(products[best]).sum()
    return expected


@pytest.mark.parametrize("found", [SIZE, 10_000])
def test_a_flat_search_for_all_rows_is_exact(found: int) -> None:
    exact = mass(index_of("exact"), queries())
    flat = mass(index_of("faiss", faiss_factory="Flat", neighbors=found), queries())
    np.testing.assert_allclose(flat, exact, rtol=1e-4)


@pytest.mark.parametrize("count", [1, 7])
@pytest.mark.parametrize("numbers", [1, 1 << 22])
def test_a_flat_search_is_brute_force(count: int, numbers: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(neighbors, "GATHERED_NUMBERS", numbers)
    flat = mass(index_of("faiss", faiss_factory="Flat", neighbors=count), queries())
    np.testing.assert_allclose(flat, brute_force(count), rtol=1e-4)


@pytest.mark.parametrize("factory", ["HNSW32", "IVF2,Flat", "IVF2,SQ8", "PCA4,Flat", "HNSW16,SQ8"])
def test_other_kinds_find_nearly_the_same(factory: str) -> None:
    found = mass(index_of("faiss", faiss_factory=factory, neighbors=20), queries())
    assert found.sum() == pytest.approx(15)
    assert np.minimum(found, brute_force(20)).sum() > 0.8 * 15


@NO_HNSWLIB
def test_hnswlib_finds_nearly_the_same() -> None:
    found = mass(index_of("hnswlib", neighbors=20), queries())
    assert np.minimum(found, brute_force(20)).sum() > 0.95 * 15
    everything = mass(index_of("hnswlib", neighbors=10_000), queries())
    np.testing.assert_allclose(everything, mass(index_of("exact"), queries()), rtol=1e-4)


@NO_HNSWLIB
def test_hnswlib_gives_fewer_where_the_graph_gives_fewer() -> None:
    # Equal rows on few links: parts of the graph are not reached.
    settings = retrieval_settings("hnswlib", hnsw_m=2, hnsw_ef=1, neighbors=300, prior_strength=0)
    index = build_index(torch.ones(300, 2), settings, np.zeros(300), 0)
    found = index.lookup(index.encoder.encode(torch.ones(2, 2)))
    assert 0 < len(found.ids) <= 300
    assert found.scores.sum() == pytest.approx(2)


@pytest.mark.parametrize("method", BOTH)
def test_the_prior_is_added(method: str) -> None:
    without, with_it = mass(index_of(method), queries()), mass(index_of(method, prior_strength=5), queries())
    np.testing.assert_allclose(with_it - without, 5 * prior() / prior().sum(), atol=1e-12)


@pytest.mark.parametrize("method", BOTH)
def test_the_same_rows_give_the_same_scores(method: str) -> None:
    first, again = (mass(index_of(method, neighbors=3), queries()) for _ in range(2))
    np.testing.assert_array_equal(first, again)


@pytest.mark.parametrize("method", BOTH)
def test_no_queries_leave_the_prior(method: str) -> None:
    assert not mass(index_of(method), queries(0)).any()
    np.testing.assert_allclose(
        mass(index_of(method, prior_strength=2), queries(0)), 2 * prior() / prior().sum()
    )


@pytest.mark.parametrize("method", BOTH)
def test_the_size_of_the_index_is_known(method: str) -> None:
    search = getattr(index_of(method), "search")  # noqa: B009 (the protocol does not name it)
    assert search.index_bytes > SIZE * DIMENSION * 4


@pytest.mark.parametrize("method", BOTH)
@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_queries_that_are_not_finite_are_refused(method: str, value: float) -> None:
    with pytest.raises(HashfedError) as caught:
        index_of(method).lookup({"queries": np.full((1, DIMENSION), value, np.float32)})
    assert str(caught.value) == "a client's queries are not finite: the training diverged"


@pytest.mark.parametrize("method", BOTH)
@pytest.mark.parametrize(
    ("keys", "problem"),
    [
        ({}, "keys []: this index needs 'queries' of shape (count, d)"),
        ({"queries": np.zeros((1, 8))}, "queries of type float64: must be float32"),
        (
            {"queries": np.zeros((1, 7), np.float32)},
            "queries of length 7: the rows of this index have length 8",
        ),
    ],
)
def test_keys_that_do_not_fit_are_refused(method: str, keys: dict[str, np.ndarray], problem: str) -> None:
    with pytest.raises(HashfedError) as caught:
        index_of(method).lookup(keys)
    assert str(caught.value) == problem


def test_ids_that_were_not_found_have_no_mass() -> None:
    three = torch.tensor([[0.0], [math.log(3)], [5.0]])
    ids = np.array([[1, 0, -1], [2, -1, -1]])
    found = neighbor_mass(three, torch.ones(2, 1), 3, lambda queries: ids)
    assert found == pytest.approx([1 / 4, 3 / 4, 1])


@pytest.mark.parametrize(
    ("factory", "problem"),
    [
        ("nonsense", "could not parse index string nonsense"),
        ("", "could not parse index string"),
        (
            "IVF2,PQ3x4",
            "The dimension of the vector (d) should be a multiple of the number of subquantizers (M)",
        ),
        (
            "IVF256,Flat",
            "Number of training points (120) should be at least as large as number of clusters (256)",
        ),
        ("LSH", "metric == METRIC_L2"),
        ("IDMap,Flat", "add does not make sense with IndexIDMap, use add_with_ids"),
    ],
)
def test_a_factory_that_faiss_refuses_is_named(factory: str, problem: str) -> None:
    with pytest.raises(HashfedError) as caught:
        index_of("faiss", faiss_factory=factory)
    message = str(caught.value)
    start = f"retrieval.faiss_factory = {factory}: FAISS refuses it for 120 rows of length 8 ("
    assert message.startswith(start)
    assert problem in message
    assert "\n" not in message


def test_the_reason_is_the_end_of_what_faiss_says() -> None:
    text = "Error in void faiss::f(int) at /project/faiss/f.cpp:64: Error: '!(d % M == 0)' failed: too\nodd"
    assert reason(RuntimeError(text)) == "too odd"
    assert reason(RuntimeError("something else")) == "something else"


def test_the_number_of_threads_is_restored() -> None:
    with single_threaded_faiss("faiss") as faiss:
        assert faiss.omp_get_max_threads() == 1
    before = faiss.omp_get_max_threads()
    faiss.omp_set_num_threads(2)
    index_of("faiss")
    assert faiss.omp_get_max_threads() == 2
    faiss.omp_set_num_threads(before)


@pytest.mark.parametrize("method", ["faiss", "cells", "product-codes"])
def test_without_faiss_the_extra_is_named(method: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "faiss", None)
    fields = {"subspaces": 2} if method == "product-codes" else {}
    with pytest.raises(HashfedError) as caught:
        index_of(method, **fields)
    problem = f"retrieval.method = {method}: needs the package faiss-cpu (pip install 'hashfed[ann]')"
    assert str(caught.value) == problem


def test_without_hnswlib_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "hnswlib", None)
    with pytest.raises(HashfedError) as caught:
        index_of("hnswlib")
    problem = "retrieval.method = hnswlib: needs the package hnswlib (pip install 'hashfed[hnswlib]')"
    assert str(caught.value) == problem


def test_the_command_line_loads_neither() -> None:
    code = "import sys, hashfed.cli.main; sys.exit('faiss' in sys.modules or 'hnswlib' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


FACTORIES = [
    "Flat",
    "HNSW8",
    "IVF20,Flat",
    "IVF4_HNSW8,Flat",
    "IVF4,SQ8",
    "IVF4,PQ2x4",
    "IVF4,PQ2x4fs",
    "IVF16,PQ2x4fsr",
    "IVF4,PQ2x4,RFlat",
    "PQ2x4",
    "PQ2x4,Refine(SQ8)",
    "HNSW8_PQ2x4",
    "RQ2x4",
    "PRQ2x2x4",
    "IVF4,RQ2x4",
    "PCA4,IVF4,Flat",
    "RR4,PQ2x4",
    "OPQ2_4,PQ2x4",
    "L2norm,IVF4,PQ2x4",
]


@pytest.mark.parametrize("factory", FACTORIES)
def test_faiss_writes_no_warnings_of_its_own(factory: str, capfd: pytest.CaptureFixture[str]) -> None:
    """That there are few rows for a cluster is known; the k-means is the same."""
    pytest.importorskip("faiss")
    rows = torch.randn(300, 8, generator=torch.Generator().manual_seed(0))
    settings = retrieval_settings("faiss", faiss_factory=factory)
    build_index(rows, settings, np.ones(300), 0)
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("method", ["cells", "product-codes"])
@pytest.mark.parametrize("quantizer", ["product", "residual"])
def test_nor_where_it_trains_cells_and_codebooks(
    method: Any, quantizer: Any, capfd: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("faiss")
    rows = torch.randn(300, 8, generator=torch.Generator().manual_seed(0))
    settings = retrieval_settings(**fitting(method, cells=64, subspaces=2, quantizer=quantizer))
    build_index(rows, settings, np.ones(300), 0)
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("factory", ["IVF4,PQ2x4", "PRQ2x2x4", "OPQ2_4,PQ2x4"])
def test_an_index_without_warnings_is_the_same_index(factory: str) -> None:
    faiss = pytest.importorskip("faiss")
    rows = torch.randn(300, 8, generator=torch.Generator().manual_seed(0)).numpy()
    found = []
    for quiet in (False, True):
        index = faiss.index_factory(8, factory)
        kept = without_warnings(faiss, index) if quiet else []
        index.train(rows)
        del kept
        index.add(rows)
        found.append(faiss.serialize_index(index).tobytes())
    assert found[0] == found[1]
