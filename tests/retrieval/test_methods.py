import json
import math
from itertools import product

import numpy as np
import pytest
import torch

from hashfed.errors import HashfedError
from hashfed.hashing import SimHash
from hashfed.retrieval import (
    METHODS,
    Candidates,
    Index,
    Keys,
    NoEncoder,
    RetrievalSettings,
    build_index,
    evidence,
    make_encoder,
    retrieval_settings,
    select,
)
from small import INSTALLED, fitting

SIZE, DIMENSION, BITS, TABLES, SEED = 40, 6, 3, 5, 9
SIMHASH = ["simhash-union", "simhash-collisions"]
SENT = {
    "bits": 2,
    "tables": 2,
    "dimension": 2,
    "seed": 0,
    "transform": 0,
    "projection_kind": 0,
    "probes": 0,
}
"""Numbers of a SimHash encoder."""


def rows() -> torch.Tensor:
    return torch.randn(SIZE, DIMENSION, generator=torch.Generator().manual_seed(0)) + 0.7


def queries(count: int = 7) -> torch.Tensor:
    return torch.randn(count, DIMENSION, generator=torch.Generator().manual_seed(1))


def prior() -> np.ndarray:
    return np.random.default_rng(2).integers(0, 30, SIZE)


def settings(method: str, **more: object) -> RetrievalSettings:
    small = fitting(method, bits=BITS, tables=TABLES, subspaces=3)
    return retrieval_settings(**{**small, **more})


def index_of(method: str, **more: object) -> Index:
    return build_index(rows(), settings(method, **more), prior(), SEED)


def ask(index: Index, queries: torch.Tensor) -> Candidates:
    """What a client does with what it received, then the server's answer."""
    numbers = json.loads(json.dumps(index.encoder.numbers()))
    encoder = make_encoder(index.encoder.kind, numbers | index.encoder.arrays())
    return index.lookup(encoder.encode(queries))


def scores(candidates: Candidates) -> dict[int, float]:
    return dict(zip(candidates.ids.tolist(), candidates.scores.tolist(), strict=True))


def brute_force_collisions(queries: torch.Tensor) -> list[int]:
    """For each row, the (query, table) pairs in which it has the query's bucket; rows are centred."""
    hash = SimHash(BITS, TABLES, DIMENSION, SEED)
    row_codes, query_codes = hash.hash(rows() - rows().mean(0)), hash.hash(queries)
    return [
        sum(
            int(row_codes[row, table] == query_codes[query, table])
            for query, table in product(range(len(queries)), range(TABLES))
        )
        for row in range(SIZE)
    ]


def test_every_method_is_registered_by_its_own_name() -> None:
    assert [retrieval_settings(name).method for name in METHODS] == list(METHODS)


@pytest.mark.parametrize("method", INSTALLED)
def test_every_method_goes_through_the_protocol(method: str) -> None:
    index = index_of(method)
    found = ask(index, queries())
    assert found.ids.dtype == np.int64
    assert found.scores.dtype == np.float64
    assert found.ids.shape == found.scores.shape == (len(set(found.ids.tolist())),)
    assert set(found.ids.tolist()) <= set(range(SIZE))
    assert np.isfinite(found.scores).all()
    selection = select(np.array([1, 5]), found, SIZE, 20, 0.5, True, np.random.default_rng(0))
    assert len(selection.ids) == 20


@pytest.mark.parametrize("method", INSTALLED)
def test_the_encoder_that_was_sent_gives_the_server_s_own_keys(method: str) -> None:
    index = index_of(method)
    sent = make_encoder(index.encoder.kind, index.encoder.numbers() | index.encoder.arrays())
    here, there = index.encoder.encode(queries()), sent.encode(queries())
    assert here.keys() == there.keys()
    for name in here:
        np.testing.assert_array_equal(here[name], there[name])


@pytest.mark.parametrize("method", SIMHASH)
def test_a_simhash_encoder_is_a_few_numbers(method: str) -> None:
    encoder = index_of(method).encoder
    assert encoder.kind == "simhash"
    assert encoder.numbers() == {
        "bits": BITS,
        "tables": TABLES,
        "dimension": DIMENSION,
        "seed": SEED,
        "transform": 1,
        "projection_kind": 0,
        "probes": 0,
    }
    assert encoder.arrays() == {}


@pytest.mark.parametrize("method", ["full", "random", "frequency"])
def test_methods_that_ask_nothing_get_no_keys(method: str) -> None:
    encoder = index_of(method).encoder
    assert isinstance(encoder, NoEncoder)
    assert encoder.encode(queries()) == {}
    assert encoder.numbers() == {}


def test_full_gives_all_rows_with_equal_scores() -> None:
    found = ask(index_of("full"), queries())
    assert found.ids.tolist() == list(range(SIZE))
    assert len(set(found.scores.tolist())) == 1


def test_random_prefers_no_row() -> None:
    assert len(ask(index_of("random"), queries()).ids) == 0


def test_frequency_ranks_by_count() -> None:
    counts = np.array([0, 7, 3, 0, 9, 1])
    index = build_index(torch.zeros(6, 2), settings("frequency"), counts, SEED)
    found = ask(index, torch.zeros(1, 2))
    assert scores(found) == {1: 7, 2: 3, 4: 9, 5: 1}
    best = select(np.empty(0, np.int64), found, 6, 2, 0.0, True, np.random.default_rng(0))
    assert best.ids.tolist() == [1, 4]


def test_union_is_the_union_of_the_queries_buckets() -> None:
    few = queries(2)
    expected = {row for row, hits in enumerate(brute_force_collisions(few)) if hits}
    assert 0 < len(expected) < SIZE
    assert scores(ask(index_of("simhash-union"), few)) == dict.fromkeys(expected, 1.0)


@pytest.mark.parametrize("exponent", [0.0, 0.5, 2.0])
def test_collisions_are_counted_and_weighted_by_the_prior(exponent: float) -> None:
    hits = brute_force_collisions(queries(2))
    assert 0 in hits
    expected = {row: n * (prior()[row] + 1.0) ** exponent for row, n in enumerate(hits) if n}
    found = scores(ask(index_of("simhash-collisions", prior=exponent), queries(2)))
    assert found == pytest.approx(expected)


def test_a_repeated_query_doubles_the_collisions() -> None:
    index = index_of("simhash-collisions")
    once, twice = ask(index, queries()), ask(index, torch.cat([queries(), queries()]))
    assert twice.ids.tolist() == once.ids.tolist()
    np.testing.assert_allclose(twice.scores, 2 * once.scores)


@pytest.mark.parametrize("chunk", [1, 2, 256])
def test_exact_is_the_softmax_mass(chunk: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(evidence, "CHUNK", chunk)
    three = torch.tensor([[0.0], [math.log(2)], [math.log(3)]])
    index = build_index(three, settings("exact"), np.zeros(3), SEED)
    # Query x gives weights 1, 2^x and 3^x: for 0, 1 and 2 they sum to 3, 6 and 14.
    found = ask(index, torch.tensor([[0.0], [1.0], [2.0]]))
    expected = {0: 1 / 3 + 1 / 6 + 1 / 14, 1: 1 / 3 + 2 / 6 + 4 / 14, 2: 1 / 3 + 3 / 6 + 9 / 14}
    assert scores(found) == pytest.approx(expected, rel=1e-6)
    assert found.scores.sum() == pytest.approx(3)


def test_exact_finds_the_optimum() -> None:
    found = ask(index_of("exact"), queries())
    mass = torch.softmax(queries().double() @ rows().double().T, dim=1).sum(0)
    best = select(np.empty(0, np.int64), found, SIZE, 5, 0.0, True, np.random.default_rng(0))
    assert set(best.ids.tolist()) == set(mass.topk(5).indices.tolist())


@pytest.mark.parametrize("method", SIMHASH)
def test_keys_are_distinct_and_count_every_query_and_table(method: str) -> None:
    keys = index_of(method).encoder.encode(queries())
    assert set(keys) == {"buckets", "counts"}
    assert (np.diff(keys["buckets"]) > 0).all()
    assert keys["buckets"].min() >= 0
    assert keys["buckets"].max() < TABLES << BITS
    assert keys["counts"].min() >= 1
    assert keys["counts"].sum() == len(queries()) * TABLES
    assert keys["buckets"].dtype == keys["counts"].dtype == np.int32


@pytest.mark.parametrize("method", SIMHASH)
def test_keys_tell_nothing_of_the_order_of_queries(method: str) -> None:
    encoder = index_of(method).encoder
    order = torch.randperm(7, generator=torch.Generator().manual_seed(3))
    assert order.tolist() != list(range(7))
    keys, shuffled = encoder.encode(queries()), encoder.encode(queries()[order])
    for name in keys:
        np.testing.assert_array_equal(keys[name], shuffled[name])


def integers(*values: int) -> np.ndarray:
    return np.array(values, np.int32)


@pytest.mark.parametrize("method", SIMHASH)
@pytest.mark.parametrize(
    ("keys", "problem"),
    [
        ({}, "keys []: a SimHash index needs 'buckets' and 'counts'"),
        ({"buckets": integers(1)}, "keys ['buckets']: a SimHash index needs 'buckets' and 'counts'"),
        ({"queries": np.zeros((1, 6))}, "keys ['queries']: a SimHash index needs 'buckets' and 'counts'"),
        (
            {"buckets": integers(1, 2), "counts": integers(1)},
            "keys of shape (2,) with counts of shape (1,): need two equal lists",
        ),
        (
            {"buckets": integers(1).reshape(1, 1), "counts": integers(1).reshape(1, 1)},
            "keys of shape (1, 1) with counts of shape (1, 1): need two equal lists",
        ),
        (
            {"buckets": integers(-1, 3), "counts": integers(1, 1)},
            "keys from -1 to 3: this index has buckets 0 to 39",
        ),
        (
            {"buckets": integers(3, 40), "counts": integers(1, 1)},
            "keys from 3 to 40: this index has buckets 0 to 39",
        ),
    ],
)
def test_keys_that_do_not_fit_are_refused(method: str, keys: Keys, problem: str) -> None:
    with pytest.raises(HashfedError) as caught:
        index_of(method).lookup(keys)
    assert str(caught.value) == problem


@pytest.mark.parametrize("method", SIMHASH)
def test_the_last_bucket_and_no_bucket_are_accepted(method: str) -> None:
    index = index_of(method)
    index.lookup({"buckets": integers(0, 39), "counts": integers(1, 1)})
    assert len(index.lookup({"buckets": integers(), "counts": integers()}).ids) == 0


@pytest.mark.parametrize(
    ("keys", "problem"),
    [
        ({}, "keys []: this index needs 'queries' of shape (count, d)"),
        ({"buckets": integers(1)}, "keys ['buckets']: this index needs 'queries' of shape (count, d)"),
        (
            {"queries": np.zeros(6, np.float32)},
            "keys ['queries']: this index needs 'queries' of shape (count, d)",
        ),
        (
            {"queries": np.zeros((2, 5), np.float32)},
            "queries of length 5: the rows of this index have length 6",
        ),
    ],
)
def test_queries_that_do_not_fit_are_refused(keys: Keys, problem: str) -> None:
    with pytest.raises(HashfedError) as caught:
        index_of("exact").lookup(keys)
    assert str(caught.value) == problem


@pytest.mark.parametrize("method", INSTALLED)
def test_a_client_without_queries_gets_the_prior_or_nothing(method: str) -> None:
    found = ask(index_of(**fitting(method, prior_strength=5.0)), queries(0))
    if method in ("full", "frequency"):
        assert len(found.ids) > 0
    elif method in ("random", "exact", "multi-index", "sce-buckets", *SIMHASH):
        assert len(found.ids) == 0
    else:
        expected = {row: 5 * count / prior().sum() for row, count in enumerate(prior()) if count}
        assert scores(found) == pytest.approx(expected)


def test_an_unknown_encoder_is_refused() -> None:
    with pytest.raises(HashfedError) as caught:
        make_encoder("minhash", {})
    kinds = (
        "none, exact, cells, query-centroids, query-codes, product-codes, multi-index, sce-buckets, simhash"
    )
    assert str(caught.value) == f"encoder 'minhash': must be one of {kinds}"


@pytest.mark.parametrize(
    ("kind", "numbers"),
    [
        ("simhash", {}),
        ("simhash", {"bits": 2, "tables": 2, "dimension": 2}),
        ("simhash", {**SENT, "colour": 1}),
        ("simhash", {**SENT, "bits": "two"}),
        ("exact", {"bits": 2}),
        ("none", {"bits": 2}),
    ],
)
def test_wrong_parameters_of_an_encoder_are_refused(kind: str, numbers: dict[str, object]) -> None:
    with pytest.raises(HashfedError, match=f"encoder '{kind}' with parameters"):
        make_encoder(kind, numbers)


def test_sizes_of_a_received_encoder_are_checked() -> None:
    with pytest.raises(HashfedError, match="K must be from 1 to 16"):
        make_encoder("simhash", {**SENT, "bits": 17})


@pytest.mark.parametrize(
    ("buckets", "counts"),
    [([0.5], [1]), ([0], [1.5]), ([2, 1], [1, 1]), ([1, 1], [1, 1]), ([1], [0])],
)
def test_keys_that_no_encoder_makes_are_refused(buckets: list[float], counts: list[float]) -> None:
    settings = retrieval_settings("simhash-collisions", bits=2, tables=2)
    index = build_index(torch.randn(5, 3), settings, np.ones(5), 0)
    with pytest.raises(HashfedError, match="keys"):
        index.lookup({"buckets": np.array(buckets), "counts": np.array(counts)})


def test_exact_refuses_queries_that_are_not_finite() -> None:
    index = build_index(torch.randn(5, 3), retrieval_settings("exact"), np.ones(5), 0)
    with pytest.raises(HashfedError, match="not finite"):
        index.lookup({"queries": np.full((1, 3), np.nan, np.float32)})
