import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hashfed.hashing import HashTables, tables
from hashfed.hashing.tables import KEPT, BucketLists, bucket_keys


@st.composite
def row_codes(draw: st.DrawFn) -> tuple[np.ndarray, int]:
    """Bucket numbers (n, L) of rows, and K."""
    bits = draw(st.sampled_from([1, 2, 3, 16]))
    size, tables = draw(st.integers(1, 12)), draw(st.integers(1, 4))
    # Few different buckets, so that rows do collide; the last one too, where narrow integers would overflow.
    bucket = st.sampled_from(sorted({0, 1, (1 << bits) // 2, (1 << bits) - 1}))
    codes = draw(st.lists(bucket, min_size=size * tables, max_size=size * tables))
    return np.array(codes, np.int32).reshape(size, tables), bits


def test_a_hand_computed_example() -> None:
    tables = HashTables.build(np.array([[0, 1], [1, 1], [0, 0], [1, 1]], np.int32), bits=1)
    # Table 0: rows 0 and 2 in bucket 0, rows 1 and 3 in bucket 1. Table 1: row 2 in bucket 0, the rest in 1.
    assert tables.members.tolist() == [0, 2, 1, 3, 2, 0, 1, 3]
    assert tables.starts.tolist() == [0, 2, 4, 5, 8]
    assert tables.size == 4
    assert [tables.bucket(key).tolist() for key in range(4)] == [[0, 2], [1, 3], [2], [0, 1, 3]]
    assert tables.members.dtype == np.int32
    assert tables.starts.dtype == np.int64


def test_collisions_by_hand() -> None:
    tables = HashTables.build(np.array([[0, 1], [1, 1], [0, 0], [1, 1]], np.int32), bits=1)
    # Key 1 (rows 1 and 3) twice, key 3 (rows 0, 1 and 3) five times.
    found = tables.collisions(np.array([1, 3], np.int32), np.array([2, 5], np.int32))
    assert found.tolist() == [5, 7, 0, 7]
    assert found.dtype == np.float64


def test_empty_buckets_have_no_rows() -> None:
    tables = HashTables.build(np.array([[2], [2]], np.int32), bits=2)
    assert tables.starts.tolist() == [0, 0, 0, 2, 2]
    assert [tables.bucket(key).tolist() for key in range(4)] == [[], [], [0, 1], []]


def test_keys_tell_tables_apart() -> None:
    codes = np.array([[0, 3, 1], [3, 0, 0]], np.int32)
    keys = bucket_keys(codes, 4)
    assert keys.tolist() == [[0, 7, 9], [3, 4, 8]]
    assert keys.dtype == np.int32


@given(row_codes())
def test_a_row_is_in_the_bucket_of_its_code_and_in_no_other(case: tuple[np.ndarray, int]) -> None:
    codes, bits = case
    size, count = codes.shape
    tables = HashTables.build(codes, bits)
    assert len(tables.starts) == (count << bits) + 1
    assert tables.starts[0] == 0
    assert tables.starts[-1] == len(tables.members) == size * count
    for table in range(count):
        found = []
        for bucket in np.unique(codes[:, table]):
            rows = tables.bucket((table << bits) + int(bucket)).tolist()
            assert rows == np.flatnonzero(codes[:, table] == bucket).tolist()
            found += rows
        assert sorted(found) == list(range(size))


@given(row_codes(), st.data())
def test_collisions_are_the_brute_force_count(case: tuple[np.ndarray, int], data: st.DataObject) -> None:
    codes, bits = case
    size, count = codes.shape
    used = sorted(set(bucket_keys(codes, 1 << bits).ravel().tolist()))
    anywhere = st.integers(0, (count << bits) - 1)
    keys = data.draw(st.lists(st.sampled_from(used) | anywhere, unique=True, max_size=12))
    counts = data.draw(st.lists(st.integers(1, 9), min_size=len(keys), max_size=len(keys)))
    expected = [0] * size
    for key, times in zip(keys, counts, strict=True):
        table, bucket = divmod(key, 1 << bits)
        for row in range(size):
            if codes[row, table] == bucket:
                expected[row] += times
    tables = HashTables.build(codes, bits)
    found = tables.collisions(np.array(keys, np.int32), np.array(counts, np.int32))
    assert found.tolist() == expected


@pytest.mark.parametrize("bits", [1, 8, 16])
def test_a_row_collides_with_itself_in_every_table(bits: int) -> None:
    codes = np.random.default_rng(bits).integers(0, 1 << bits, (200, 5), np.int32)
    tables = HashTables.build(codes, bits)
    for row in (0, 99, 199):
        found = tables.collisions(bucket_keys(codes[row : row + 1], 1 << bits)[0], np.ones(5, np.int32))
        assert found[row] == 5
        np.testing.assert_array_equal(found, (codes == codes[row]).sum(axis=1))


@pytest.mark.parametrize("bits", [1, 8, 9, 16])
@pytest.mark.parametrize("size", [1, 700])
def test_lists_are_those_of_a_loop(bits: int, size: int) -> None:
    buckets = 1 << bits
    codes = np.random.default_rng(bits).integers(0, buckets, (3, size)).astype(np.uint16)
    found = BucketLists.sorted(codes.astype(np.uint8) if bits <= 8 else codes, buckets)
    order = [np.argsort(own, kind="stable") for own in codes]
    np.testing.assert_array_equal(found.members, np.concatenate(order))
    sizes = np.concatenate([np.bincount(own, minlength=buckets) for own in codes])
    np.testing.assert_array_equal(np.diff(found.starts), sizes)
    assert found.starts[0] == 0


@pytest.mark.parametrize("bits", [1, 3, 9])
@pytest.mark.parametrize("share", [0.02, 0.3, 1.0])
@pytest.mark.parametrize("tile", [1, 7, 16384])
def test_both_ways_count_the_same(
    bits: int, share: float, tile: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = np.random.default_rng(bits)
    built = HashTables.build(rng.integers(0, 1 << bits, (60, 4)), bits)
    asked = np.flatnonzero(rng.random(4 << bits) < share)
    counts = rng.integers(1, 9, len(asked))
    monkeypatch.setattr(tables, "TILE", tile)
    monkeypatch.setattr(tables, "DENSE", 10**9)
    looked_up = built.collisions(asked, counts)
    assert "lists" not in built.__dict__
    monkeypatch.setattr(tables, "DENSE", 0)
    listed = built.collisions(asked, counts)
    assert ("lists" in built.__dict__) == (len(asked) > 0)
    np.testing.assert_array_equal(looked_up, listed)
    assert looked_up.dtype == listed.dtype == np.float64


def test_few_keys_of_full_buckets_are_not_walked() -> None:
    codes = np.zeros((1000, 2), np.int32)
    codes[:3] = [[5, 1], [6, 2], [7, 3]]
    found = HashTables.build(codes, bits=8).collisions(np.array([0]), np.array([4]))
    assert found.tolist() == [0] * 3 + [4] * 997


@pytest.mark.parametrize("dense", [0, 10**9])
def test_counts_beyond_32_bits_do_not_wrap(dense: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tables, "DENSE", dense)
    built = HashTables.build(np.zeros((3, 4), np.int32), bits=1)
    keys, counts = np.array([0, 2, 4, 6]), np.full(4, 2**31 - 1, np.int32)
    assert built.collisions(keys, counts).tolist() == [4 * (2**31 - 1)] * 3


@pytest.mark.parametrize("listed", [False, True])
@pytest.mark.parametrize("size", [20, 20 * KEPT])
def test_moved_rows_are_in_their_new_buckets(listed: bool, size: int) -> None:
    rng = np.random.default_rng(size)
    codes = rng.integers(0, 256, (size, 3))
    built = HashTables.build(codes, 8)
    for _ in range(4):
        ids = np.sort(rng.choice(size, 10, replace=False))
        new = codes.copy()
        new[ids] = rng.integers(0, 256, (10, 3))
        if listed:
            assert len(built.members) == 3 * size
        before = built.codes.copy()
        moved = built.moved(ids, new[ids].T.astype(np.uint8))
        np.testing.assert_array_equal(built.codes, before)
        anew = HashTables.build(new, 8)
        np.testing.assert_array_equal(moved.codes, anew.codes)
        for count in (1, 5, 700):
            keys = np.sort(rng.choice(3 << 8, count, replace=False))
            counts = rng.integers(1, 5, count)
            expected = anew.collisions(keys, counts)
            np.testing.assert_array_equal(moved.collisions(keys, counts), expected)
        np.testing.assert_array_equal(moved.members, anew.members)
        np.testing.assert_array_equal(moved.starts, anew.starts)
        built, codes = moved, new


def test_older_lists_stay_in_use_until_many_rows_have_moved() -> None:
    size = 10 * KEPT
    codes = np.zeros((size, 2), np.uint8)
    built = HashTables.build(codes, 8)
    lists = built.lists
    new = np.full((2, 6), 3, np.uint8)
    once = built.moved(np.arange(6), new)
    assert once.older is not None
    assert once.older[0] is lists
    twice = once.moved(np.arange(4, 10), new)
    assert twice.older is not None
    assert twice.older[1].tolist() == list(range(10))
    assert twice.moved(np.arange(20, 26), new).older is None


def test_tables_of_rows_that_stay_in_their_buckets_are_the_same() -> None:
    codes = np.random.default_rng(0).integers(0, 8, (30, 5))
    built = HashTables.build(codes, 3)
    assert built.moved(np.array([2, 9]), codes[[2, 9]].T.astype(np.uint8)) is built
