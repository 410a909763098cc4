import hashlib
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from hashfed.errors import HashfedError
from hashfed.federated import slices, wire
from hashfed.federated.checks import ModelShape
from hashfed.federated.manifests import ManifestShape
from hashfed.federated.messages import Manifest, pack_counts, unpack_counts
from hashfed.hashing import HashTables
from hashfed.models import Parameters
from hashfed.retrieval import build_index, retrieval_settings
from hashfed.retrieval.random import RandomIndex
from hashfed.retrieval.simhash_union import SimHashUnionIndex
from small import fitting

BODY = {"bias": torch.tensor([1.0, 2.0])}


def parameters(size: int, width: int = 6, seed: int = 0) -> Parameters:
    return Parameters(
        {"output": torch.randn(size, width, generator=torch.Generator().manual_seed(seed))}, BODY
    )


def test_slices_by_hand() -> None:
    """Four rows, of which two are equal, in two tables of two buckets."""
    rows = torch.tensor([[1.0, 0.0], [0.0, 1.0], [1.0, 0.0], [2.0, 0.0]])
    index = build_index(rows, retrieval_settings("simhash-union", bits=1, tables=2), np.ones(4), 0)
    assert isinstance(index, SimHashUnionIndex)
    # Bucket 0 of table 0 holds all rows, bucket 1 none; those of table 1 hold rows 1, 3 and rows 0, 2.
    codes = np.array([[0, 1], [0, 0], [0, 1], [0, 0]])
    index = replace(index, tables=HashTables.build(codes, 1))
    manifest, found = slices.make_slices(Parameters({"output": rows}, BODY), index, None, 7)
    assert manifest.buckets.tolist() == [0, 2, 3]
    assert manifest.bucket_rows.tolist() == [4, 2, 2]
    ids = np.array([1, 3], "<i4").tobytes()
    row = np.array([1, 0], "<f4").tobytes()
    assert bytes(manifest.bucket_addresses[1]) == hashlib.sha256(ids).digest()
    assert found[hashlib.sha256(ids).hexdigest()] == ids
    assert (
        bytes(manifest.row_addresses[2]) == bytes(manifest.row_addresses[0]) == hashlib.sha256(row).digest()
    )
    assert len(found) == 3 + 3
    assert slices.addresses_in(manifest) == set(found)

    # Buckets 1 (empty) and 2: rows 1 and 3 are found.
    keys = {"buckets": np.array([1, 2], np.int32), "counts": np.array([5, 1], np.int32)}
    wanted = slices.wanted_buckets(manifest, keys)
    assert wanted == [slices.Wanted(hashlib.sha256(ids).hexdigest(), 8)]
    settings = retrieval_settings("simhash-union", bits=1, tables=2)
    candidates = slices.find_candidates(settings, manifest, keys, [ids])
    assert candidates.ids.tolist() == index.lookup(keys).ids.tolist() == [1, 3]
    wanted = slices.wanted_rows(manifest.row_addresses, manifest.width, np.array([3, 0]))
    assert [item.size for item in wanted] == [8, 8]
    read = slices.read_rows(manifest.width, [found[item.address] for item in wanted])
    assert read.tolist() == [[2, 0], [1, 0]]
    assert slices.read_rows(manifest.width, []).shape == (0, 2)
    with pytest.raises(HashfedError, match=r"ids 1 to 9: there are 4 rows"):
        slices.find_candidates(settings, manifest, keys, [np.array([1, 9], "<i4").tobytes()])


def test_a_method_without_buckets_has_row_slices_only() -> None:
    manifest, found = slices.make_slices(parameters(5), RandomIndex(), None, 1)
    assert len(found) == 5
    assert len(manifest.buckets) == 0
    settings = retrieval_settings("random")
    assert len(slices.find_candidates(settings, manifest, {}, []).ids) == 0
    counts = retrieval_settings("frequency")
    with pytest.raises(HashfedError, match="manifest of round 1: without the label counts"):
        slices.find_candidates(counts, manifest, {}, [])
    known = replace(manifest, prior=np.array([0, 3, 0, 0, 1], np.int32))
    candidates = slices.find_candidates(counts, known, {}, [])
    assert (candidates.ids.tolist(), candidates.scores.tolist()) == ([1, 4], [3, 1])
    exact = build_index(parameters(5).rows, retrieval_settings("exact"), np.ones(5), 0)
    with pytest.raises(HashfedError, match="an index with encoder exact has none"):
        slices.make_slices(parameters(5), exact, None, 1)


@given(
    size=st.integers(1, 60),
    queries=st.integers(1, 20),
    method=st.sampled_from(["simhash-union", "simhash-collisions"]),
    settings=st.sampled_from(
        [
            {},
            {"transform": "simple-lsh", "norm_ranges": 3},
            {"transform": "sign-alsh", "norm_ranges": 2, "probes": 2},
            {"transform": "whiten", "projections": "pca"},
            {"bits": 9, "tables": 2},
        ]
    ),
    seed=st.integers(0, 10**6),
)
def test_a_client_finds_what_the_index_finds(
    size: int, queries: int, method: Any, settings: dict[str, Any], seed: int
) -> None:
    """Ids and scores bit for bit, from the bytes of manifest and slices."""
    rng = np.random.default_rng(seed)
    model = parameters(size, seed=seed)
    model.rows.mul_(torch.linspace(0, 3, size)[:, None])
    prior = rng.integers(0, 100, size)
    chosen = retrieval_settings(**{**fitting(method, bits=4, tables=5, prior=0.5), **settings})
    index = build_index(model.rows, chosen, prior, seed)
    keys = index.encoder.encode(torch.from_numpy(rng.standard_normal((queries, 6), np.float32)))
    sent, found = slices.make_slices(model, index, pack_counts(prior), 3)
    manifest = wire.decode(wire.encode(sent))
    assert isinstance(manifest, Manifest)
    assert wire.size(sent) == len(wire.encode(sent))
    check = ManifestShape(ModelShape({"output": (size, 6)}, {"bias": (2,)}), chosen, seed, counts=True)
    check.check(manifest, 3)
    assert wire.size(sent) <= check.most_bytes
    fetched = [found[item.address] for item in slices.wanted_buckets(manifest, keys)]
    candidates = slices.find_candidates(chosen, manifest, keys, fetched)
    expected = index.lookup(keys)
    np.testing.assert_array_equal(candidates.ids, expected.ids)
    np.testing.assert_array_equal(candidates.scores, expected.scores)
    ids = rng.permutation(size)
    data = [
        slices.verified(item, found[item.address])
        for item in slices.wanted_rows(manifest.row_addresses, manifest.width, ids)
    ]
    assert torch.equal(slices.read_rows(manifest.width, data), model.rows[torch.from_numpy(ids)])


@pytest.mark.parametrize(
    ("counts", "dtype"),
    [
        (np.array([0, 7], np.int64), np.int32),
        (np.array([0.0, 7.0]), np.int32),
        (np.array([0.5, 7.0]), np.float64),
        (np.array([2**40, 1], np.int64), np.float64),
        (np.empty(0, np.int64), np.int32),
    ],
)
def test_counts_travel_without_a_loss(counts: np.ndarray, dtype: type) -> None:
    sent = pack_counts(counts)
    assert sent.dtype == dtype
    np.testing.assert_array_equal(unpack_counts(sent), counts)
