"""The SimHash indexes with every transform, projection, probing and norm range, and their refresh."""

import math
from collections.abc import Callable
from itertools import product
from typing import Any, get_args

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from hashfed.errors import HashfedError
from hashfed.hashing.projections import ProjectionKind
from hashfed.hashing.transforms import RANGED, NormScaled, TransformKind, row_norms
from hashfed.retrieval import Keys, build_index, make_encoder
from hashfed.retrieval.simhash_collisions import SimHashCollisionsIndex, SimHashCollisionsSettings
from hashfed.retrieval.simhash_encoder import SimHashEncoder
from hashfed.retrieval.simhash_index import SimHashIndex, hash_rows, row_ranges
from hashfed.retrieval.simhash_union import SimHashUnionIndex, SimHashUnionSettings

SIZE, DIMENSION, SEED = 40, 6, 9
TRANSFORMS: tuple[TransformKind, ...] = get_args(TransformKind)
PROJECTIONS: tuple[ProjectionKind, ...] = get_args(ProjectionKind)


def rows(seed: int = 0, size: int = SIZE) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    lengths = torch.rand(size, 1, generator=generator) + 0.2
    return (torch.randn(size, DIMENSION, generator=generator) + 0.7) * lengths


def queries(count: int = 3) -> torch.Tensor:
    return torch.randn(count, DIMENSION, generator=torch.Generator().manual_seed(1))


def small(**more: Any) -> dict[str, Any]:
    return {"bits": 3, "tables": 5, **more}


def union(values: torch.Tensor | None = None, **more: Any) -> SimHashUnionIndex:
    values = rows() if values is None else values
    index = build_index(values, SimHashUnionSettings(**small(**more)), np.ones(len(values)), SEED)
    assert isinstance(index, SimHashUnionIndex)
    return index


def collisions(
    values: torch.Tensor | None = None, counts: np.ndarray | None = None, **more: Any
) -> SimHashCollisionsIndex:
    values = rows() if values is None else values
    counts = np.ones(len(values)) if counts is None else counts
    index = build_index(values, SimHashCollisionsSettings(**small(**{"prior": 0, **more})), counts, SEED)
    assert isinstance(index, SimHashCollisionsIndex)
    return index


def received(encoder: SimHashEncoder, queries: torch.Tensor) -> Keys:
    """The keys of a client that has only what was sent."""
    return make_encoder("simhash", encoder.numbers() | encoder.arrays()).encode(queries)


def code(projections: torch.Tensor, vector: torch.Tensor, table: int, tables: int) -> list[int]:
    """The bits of a vector in one table."""
    return [int(float(line @ vector) > 0) for line in projections[table::tables].double()]


def brute_force(tables: SimHashIndex, asked: torch.Tensor) -> list[int]:
    """For each row, the (query, table) pairs in which it has a bucket that the query names."""
    hash, probes = tables.encoder.simhash, tables.encoder.probes
    after, mapped = tables.transform.rows(rows()), tables.transform.queries(asked)
    hits = [0] * SIZE
    for query, table in product(mapped.double(), range(hash.tables)):
        own = code(hash.projections, query, table, hash.tables)
        costs = (hash.projections[table :: hash.tables].double() @ query).square().tolist()
        flips = sorted(
            product([0, 1], repeat=hash.bits),
            key=lambda flip: sum(cost for cost, one in zip(costs, flip, strict=True) if one),
        )
        named = [
            [bit ^ one for bit, one in zip(own, flip, strict=True)]
            for flip in flips[: 1 + probes]  # the first flips nothing
        ]
        for row in range(SIZE):
            hits[row] += code(hash.projections, after[row].double(), table, hash.tables) in named
    return hits


@pytest.mark.parametrize("transform", TRANSFORMS)
@pytest.mark.parametrize("projections", PROJECTIONS)
@pytest.mark.parametrize(("bits", "probes"), [(3, 0), (3, 4), (1, 1), (5, 6)])
def test_lookup_is_the_brute_force_loop(
    transform: TransformKind, projections: ProjectionKind, bits: int, probes: int
) -> None:
    more: dict[str, Any] = {
        "transform": transform,
        "projections": projections,
        "bits": bits,
        "probes": probes,
    }
    asked = queries()
    ranked, found = collisions(**more), union(**more)
    expected = {row: hits for row, hits in enumerate(brute_force(ranked, asked)) if hits}
    counted = ranked.lookup(received(ranked.encoder, asked))
    assert dict(zip(counted.ids.tolist(), counted.scores.tolist(), strict=True)) == expected
    united = found.lookup(received(found.encoder, asked))
    assert set(united.ids.tolist()) == set(expected)
    assert (united.scores == 1).all()


def test_more_probes_than_buckets_name_all_of_them() -> None:
    index = collisions(bits=1, probes=32)
    found = index.lookup(received(index.encoder, queries(2)))
    assert found.scores.tolist() == [2 * 5] * SIZE


@pytest.mark.parametrize("transform", TRANSFORMS)
@pytest.mark.parametrize("projections", PROJECTIONS)
def test_only_what_a_seed_cannot_say_is_sent_as_arrays(
    transform: TransformKind, projections: ProjectionKind
) -> None:
    index = collisions(transform=transform, projections=projections, probes=2)
    arrays = index.encoder.arrays()
    expected = {"matrix"} if transform == "whiten" else set()
    assert set(arrays) == expected | ({"projections"} if projections == "pca" else set())
    for array in arrays.values():
        assert array.dtype == np.float32
        # Never the rows: the size does not depend on how many there are.
        assert len(array) in (DIMENSION, 15)
    sent = make_encoder("simhash", index.encoder.numbers() | arrays)
    for name, value in index.encoder.encode(queries()).items():
        np.testing.assert_array_equal(sent.encode(queries())[name], value)


@pytest.mark.parametrize("transform", RANGED)
@pytest.mark.parametrize("probes", [0, 2])
def test_scores_of_norm_ranges_estimate_inner_products(transform: TransformKind, probes: int) -> None:
    index = collisions(transform=transform, norm_ranges=4, probes=probes)
    asked = queries()
    found = index.lookup(received(index.encoder, asked))
    hits = brute_force_in_ranges(index, asked, probes)
    pairs = len(asked) * 5
    scaled, ranges = index.transform, index.ranges
    assert isinstance(scaled, NormScaled)
    assert ranges is not None
    expected = {}
    for row, count in enumerate(hits):
        if count:
            limit = float(scaled.limits[ranges[row]])
            product = limit * math.cos(math.pi * (1 - (count / pairs) ** (1 / 3)))
            expected[row] = pairs * (1 - math.acos(product / float(scaled.limits[-1])) / math.pi) ** 3
    assert dict(zip(found.ids.tolist(), found.scores.tolist(), strict=True)) == pytest.approx(expected)
    # A row of the last range has its plain count.
    last = [row for row in expected if ranges[row] == 3]
    assert [expected[row] for row in last] == pytest.approx([hits[row] for row in last])


def brute_force_in_ranges(tables: SimHashIndex, asked: torch.Tensor, probes: int) -> list[int]:
    """Hits of rows that are scaled by the largest norm of their range, range by range."""
    norms = row_norms(rows())
    parts = np.array_split(np.argsort(norms, kind="stable"), 4)
    assert tables.ranges is not None
    for number, part in enumerate(parts):
        assert (tables.ranges[part] == number).all()
    return brute_force(tables, asked)


def test_one_norm_range_keeps_the_plain_count() -> None:
    index = collisions(transform="simple-lsh")
    assert index.ranges is None
    found = index.lookup(received(index.encoder, queries()))
    assert (found.scores == np.round(found.scores)).all()


def test_norm_ranges_do_not_change_the_keys() -> None:
    one, many = (collisions(transform="simple-lsh", norm_ranges=ranges) for ranges in (1, 8))
    assert one.encoder.numbers() == many.encoder.numbers()


def test_norm_ranges_find_large_inner_products_better() -> None:
    """Yan's case: a long tail of norms, so that one largest norm leaves most rows at right angles."""
    generator = torch.Generator().manual_seed(4)
    rows = torch.randn(2000, 16, generator=generator) * torch.rand(2000, 1, generator=generator).pow(2)
    rows[0] *= 100 / rows[0].norm()
    asked = torch.randn(30, 16, generator=generator)
    recall = {}
    for ranges in (1, 16):
        index = collisions(rows, bits=8, tables=64, transform="simple-lsh", norm_ranges=ranges)
        recall[ranges] = 0.0
        for query in asked.split(1):
            found = index.lookup(received(index.encoder, query))
            best = found.ids[np.argsort(-found.scores)[:100]]
            recall[ranges] += len(set(best) & set((rows @ query[0]).topk(20).indices.tolist()))
    assert recall[16] > 1.5 * recall[1]


@settings(max_examples=40, deadline=None)
@given(
    st.sampled_from(TRANSFORMS),
    st.sampled_from(PROJECTIONS),
    st.integers(1, 4),
    st.integers(0, 10**6),
    st.lists(st.sets(st.integers(0, SIZE - 1)), max_size=4),
    st.sampled_from([0.0, 1e-6, 1.0, 30.0]),
)
def test_refreshed_tables_are_those_built_anew(
    transform: TransformKind,
    projections: ProjectionKind,
    ranges: int,
    seed: int,
    rounds: list[set[int]],
    scale: float,
) -> None:
    more: dict[str, Any] = {"transform": transform, "projections": projections}
    if transform in RANGED:
        more["norm_ranges"] = ranges
    values = rows(seed)
    index = collisions(values, **more)
    generator = torch.Generator().manual_seed(seed)
    for changed in rounds:
        ids = np.array(sorted(changed), np.int64)
        values = values.clone()
        values[torch.from_numpy(ids)] = torch.randn(len(ids), DIMENSION, generator=generator) * scale
        before = index.codes.copy()
        old, index = index, index.refresh(values, ids)
        np.testing.assert_array_equal(old.codes, before)
        anew = hash_rows(values, index.transform, index.encoder.simhash)
        np.testing.assert_array_equal(index.tables.codes, anew.codes)
        np.testing.assert_array_equal(index.tables.members, anew.members)
        np.testing.assert_array_equal(index.tables.starts, anew.starts)
        found = row_ranges(values, index.transform)
        assert (index.ranges is None) == (found is None)
        if found is not None:
            np.testing.assert_array_equal(index.ranges, found)


@pytest.mark.parametrize("listed", [False, True])
@pytest.mark.parametrize("count", [1, 40])
def test_a_refreshed_index_answers_as_one_built_anew(listed: bool, count: int) -> None:
    size = 400
    more: dict[str, Any] = {"bits": 8, "transform": "none", "prior": 1}
    values, asked = rows(0, size), queries(count)
    index = collisions(values, **more)
    generator = torch.Generator().manual_seed(5)
    for turn in range(3):
        if listed and turn == 0:
            assert len(index.tables.members) == 5 * size
        ids = np.arange(turn, size, 59)
        values = values.clone()
        values[torch.from_numpy(ids)] = torch.randn(len(ids), DIMENSION, generator=generator)
        prior = np.arange(size) + float(turn)
        index = index.refresh(values, ids, prior)
        assert index.exact_refresh
        anew = collisions(values, prior, **more)
        one, other = (item.lookup(received(index.encoder, asked)) for item in (index, anew))
        np.testing.assert_array_equal(one.ids, other.ids)
        np.testing.assert_array_equal(one.scores, other.scores)


@pytest.mark.parametrize("transform", TRANSFORMS)
@pytest.mark.parametrize("projections", PROJECTIONS)
def test_a_refresh_is_exact_where_nothing_is_fitted_to_the_rows(
    transform: TransformKind, projections: ProjectionKind
) -> None:
    for index in (union, collisions):
        found = index(transform=transform, projections=projections)
        assert found.exact_refresh == (transform == "none" and projections != "pca")


def test_new_counts_of_a_refresh_are_checked() -> None:
    with pytest.raises(HashfedError, match=r"label count -1\.0 of row 3"):
        collisions().refresh(rows(), np.array([1]), np.where(np.arange(SIZE) == 3, -1.0, 2.0))


def test_rows_whose_sum_is_too_large_for_a_float_are_finite() -> None:
    values = torch.full((SIZE, DIMENSION), 3e38)
    index = union(values, transform="none")
    assert (index.codes == index.codes[0]).all()
    values[4, 1] = -math.inf
    with pytest.raises(HashfedError, match="row 4 is not finite"):
        index.refresh(values, np.array([2, 4]))


def test_a_refreshed_union_finds_the_new_rows() -> None:
    index, values = union(transform="none"), rows()
    values[7] = queries(1)[0]
    found = index.refresh(values, np.array([7])).lookup(received(index.encoder, queries(1)))
    assert 7 in found.ids


@pytest.mark.parametrize("transform", TRANSFORMS)
@pytest.mark.parametrize("projections", PROJECTIONS)
@pytest.mark.parametrize("zeros", [1, SIZE])
def test_zero_rows_are_fine(transform: TransformKind, projections: ProjectionKind, zeros: int) -> None:
    values = rows()
    values[:zeros] = 0
    for ranges in (1, 4) if transform in RANGED else (1,):
        more: dict[str, Any] = {"transform": transform, "projections": projections, "norm_ranges": ranges}
        index = collisions(values, **more)
        found = index.lookup(received(index.encoder, torch.cat([queries(), torch.zeros(1, DIMENSION)])))
        assert np.isfinite(found.scores).all()


@pytest.mark.parametrize("index", [union, collisions])
@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_rows_that_are_not_finite_are_refused(
    index: Callable[[torch.Tensor], SimHashIndex], bad: float
) -> None:
    values = rows()
    values[17, 2] = values[30, 0] = bad
    with pytest.raises(HashfedError) as caught:
        index(values)
    assert str(caught.value) == "row 17 is not finite"
    with pytest.raises(HashfedError) as caught:
        union().refresh(values, np.array([3, 17, 30]))
    assert str(caught.value) == "row 17 is not finite"


@pytest.mark.parametrize(
    "values",
    [torch.zeros(0, 3), torch.zeros(3, 0), torch.zeros(3), torch.zeros(2, 2, 2), torch.zeros(2, 2).double()],
)
def test_rows_of_another_shape_or_type_are_refused(values: torch.Tensor) -> None:
    with pytest.raises(HashfedError, match=r"rows of type .* must be float32, \(n, d\)"):
        union(values)


def test_too_many_projections_are_refused_before_any_work() -> None:
    # Made without a check, as a caller of the library may.
    much = SimHashUnionSettings().model_copy(update={"bits": 16, "tables": 1000})
    with pytest.raises(HashfedError, match="K·L must be at most 8192"):
        build_index(rows(), much, np.ones(SIZE), SEED)


@pytest.mark.parametrize(
    ("ids", "problem"),
    [
        ([1, 1], "ids 1, 1: must ascend without repetition"),
        ([5, 7, 2], "ids 7, 2: must ascend without repetition"),
        ([-1, 2], "ids from -1 to 2: this index has rows 0 to 39"),
        ([2, 40], "ids from 2 to 40: this index has rows 0 to 39"),
        ([[1, 2]], "ids of type int64 and shape (1, 2): must be a list of integers"),
        ([0.5], "ids of type float64 and shape (1,): must be a list of integers"),
    ],
)
def test_ids_that_do_not_fit_are_refused(ids: object, problem: str) -> None:
    with pytest.raises(HashfedError) as caught:
        union().refresh(rows(), np.array(ids))
    assert str(caught.value) == problem


@pytest.mark.parametrize("shape", [(39, 6), (40, 5), (40,)])
def test_a_refresh_with_other_rows_is_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(HashfedError, match=r"this index has \(40, 6\)"):
        union().refresh(torch.zeros(shape), np.array([1]))


@pytest.mark.parametrize("transform", sorted(set(TRANSFORMS) - set(RANGED)))
def test_norm_ranges_need_a_transform_that_scales(transform: TransformKind) -> None:
    with pytest.raises(ValueError, match="norm_ranges = 2: needs transform simple-lsh or sign-alsh"):
        SimHashUnionSettings(transform=transform, norm_ranges=2)


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"transform": 5}, "encoder transform = 5: must be from 0 to 4"),
        ({"projection_kind": -1}, "encoder projection_kind = -1: must be from 0 to 2"),
        ({"probes": 33}, "encoder probes = 33: must be from 0 to 32"),
        ({"transform": 4}, "transform whiten: a matrix is needed"),
        ({"matrix": np.zeros((6, 6), np.float32)}, "transform center: a matrix is needed"),
        ({"transform": 4, "matrix": np.zeros((6, 5), np.float32)}, r"must be float32, \(6, 6\)"),
        ({"projection_kind": 2}, "projections of kind pca"),
        ({"projection_kind": 2, "projections": np.zeros((3, 6), np.float32)}, r"must be float32, \(15, 6\)"),
    ],
)
def test_what_a_client_received_is_checked(change: dict[str, object], problem: str) -> None:
    with pytest.raises(HashfedError, match=problem):
        make_encoder("simhash", collisions().encoder.numbers() | change)
