import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hashfed.hashing import HashTables
from hashfed.hashing.tables import bucket_keys


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
    keys = HashTables.build(codes, bits=2).keys(codes)
    assert keys.tolist() == [[0, 7, 9], [3, 4, 8]]
    assert keys.dtype == np.int32
    assert bucket_keys(codes, 4).tolist() == keys.tolist()


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
        found = tables.collisions(tables.keys(codes[row : row + 1])[0], np.ones(5, np.int32))
        assert found[row] == 5
        np.testing.assert_array_equal(found, (codes == codes[row]).sum(axis=1))
