"""L hash tables over the n rows (paper, section 3.2, step 1).

What is kept is each row's bucket in each table. Two ways lead from there to the rows that collide with
queries, and both count the same:

- lists of the rows in each bucket, made by sort when they are first needed: for few buckets out of many;
- a table of counts, in which every row's buckets are looked up: where the queries fall into so many buckets
  that their lists hold a good part of all rows. At K = 8 a client's few hundred queries do.

Where some rows move, their buckets are written anew and older lists stay in use for all others.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

DENSE = 8
"""Lists are walked where they hold less than one in DENSE of all rows and tables: a member of a list costs
five to ten times as much as a look into the table of counts."""
KEPT = 16
"""Older lists stay in use until one row in KEPT has moved: each costs one look per table."""
TILE = 16384
"""Rows looked up at a time: what is read and written stays in the cache."""


@dataclass(frozen=True)
class BucketLists:
    """The rows by bucket, as compressed lists.

    Attributes:
        members: (L·n,) int32 row ids, grouped by key, ascending within a bucket.
        starts: (L·2^K + 1,) int64: the rows of a key are ``members[starts[key] : starts[key + 1]]``.

    """

    members: np.ndarray
    starts: np.ndarray

    @classmethod
    def sorted(cls, codes: np.ndarray, buckets: int) -> "BucketLists":
        """The lists of the rows' bucket numbers ``codes`` (L, n), uint8 or uint16, in [0, ``buckets``)."""
        tables, count = codes.shape
        members = np.empty(codes.size, np.int32)
        starts = np.empty(tables * buckets + 1, np.int64)
        for table, own in enumerate(codes):
            # numpy sorts integers of 8 and 16 bits by radix: this is linear in n.
            order = np.argsort(own, kind="stable")
            members[table * count : (table + 1) * count] = order
            first = starts[table * buckets : (table + 1) * buckets]
            if buckets <= 256:
                first[:] = np.searchsorted(own, np.arange(buckets, dtype=own.dtype), sorter=order)
            else:
                first[:1] = 0
                np.cumsum(np.bincount(own, minlength=buckets)[:-1], out=first[1:])
            first += table * count
        starts[-1] = codes.size
        return cls(members, starts)

    def held(self, keys: np.ndarray) -> int:
        """How many rows the buckets ``keys`` (k,) hold in all."""
        return int((self.starts[keys + 1] - self.starts[keys]).sum())

    def collisions(self, keys: np.ndarray, counts: np.ndarray, size: int) -> np.ndarray:
        """As ``HashTables.collisions`` for ``size`` rows."""
        first = self.starts[keys]
        lengths = self.starts[keys + 1] - first
        # Positions of all members of all these buckets, without a loop over buckets.
        shift = np.repeat(first - (np.cumsum(lengths) - lengths), lengths)
        rows = self.members[np.arange(len(shift)) + shift]
        return count_members(rows, lengths, counts, size)


@dataclass(frozen=True)
class HashTables:
    """Which rows lie in which bucket.

    A bucket's *key* is ``table · 2^K + bucket number``.

    Attributes:
        codes: (L, n) uint8, or uint16 where K > 8: each row's bucket number.
        bits: K.
        older: lists of earlier codes, and the rows (k,) int64 ascending that have moved since; or None.

    """

    codes: np.ndarray
    bits: int
    older: tuple[BucketLists, np.ndarray] | None = None

    @classmethod
    def build(cls, codes: np.ndarray, bits: int) -> "HashTables":
        """Tables from the rows' bucket numbers ``codes`` (n, L), integers in [0, 2^K)."""
        return cls(np.ascontiguousarray(codes.T, np.uint8 if bits <= 8 else np.uint16), bits)

    def moved(self, ids: np.ndarray, codes: np.ndarray) -> "HashTables":
        """These tables with new bucket numbers ``codes`` (L, k) of the rows ``ids`` (k,) int64 ascending."""
        changed = (self.codes[:, ids] != codes).any(axis=0)
        if not changed.any():
            return self
        ids, codes = ids[changed], codes[:, changed]
        written = self.codes.copy()
        written[:, ids] = codes
        older = self.older
        if "lists" in self.__dict__:
            older = self.lists, ids
        elif older is not None:
            older = older[0], np.union1d(older[1], ids)
        if older is not None and len(older[1]) * KEPT > self.size:
            older = None
        return HashTables(written, self.bits, older)

    @cached_property
    def lists(self) -> BucketLists:
        """The rows by bucket, sorted when first asked for."""
        return BucketLists.sorted(self.codes, 1 << self.bits)

    @property
    def size(self) -> int:
        """n, number of rows."""
        return len(self.codes[0])

    @property
    def members(self) -> np.ndarray:
        """``BucketLists.members``."""
        return self.lists.members

    @property
    def starts(self) -> np.ndarray:
        """``BucketLists.starts``."""
        return self.lists.starts

    @property
    def index_bytes(self) -> int:
        """Bytes of codes and lists, the lists also where none are made yet."""
        return self.codes.nbytes + 4 * self.codes.size + 8 * ((len(self.codes) << self.bits) + 1)

    def bucket(self, key: int) -> np.ndarray:
        """The row ids in one bucket, ascending."""
        return self.members[self.starts[key] : self.starts[key + 1]]

    def collisions(self, keys: np.ndarray, counts: np.ndarray) -> np.ndarray:
        """How often each row shares a bucket with the queries.

        Args:
            keys: (k,) distinct bucket keys.
            counts: (k,) how many (query, table) pairs fell into each.

        Returns:
            (n,) float64: over all keys whose bucket holds the row, the sum of ``counts``.

        """
        if len(keys) == 0:
            return np.zeros(self.size)
        if len(keys) * DENSE < len(self.codes) << self.bits:
            lists, moved = (self.lists, None) if self.older is None else self.older
            if lists.held(keys) * DENSE < self.codes.size:
                hits = lists.collisions(keys, counts, self.size)
                if moved is not None:
                    hits[moved] = _look_up(self.codes[:, moved], self._counts(keys, counts))
                return hits
        return _look_up(self.codes, self._counts(keys, counts)).astype(np.float64)

    def _counts(self, keys: np.ndarray, counts: np.ndarray) -> np.ndarray:
        """``counts`` by table and bucket, (L, 2^K), int32 where no sum of them can be larger."""
        small = counts.sum(dtype=np.float64) < 2**31
        table = np.zeros(len(self.codes) << self.bits, np.int32 if small else np.float64)
        table[keys] = counts
        return table.reshape(len(self.codes), -1)


def _look_up(codes: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """For each row the sum of ``counts`` (L, 2^K) over its bucket numbers ``codes`` (L, n), (n,)."""
    size = codes.shape[1]
    sums = np.zeros(size, counts.dtype)
    # numpy looks up by its own kind of integers; converted here, a tile at a time, no large array is made.
    positions, found = np.empty(TILE, np.intp), np.empty(TILE, counts.dtype)
    for start in range(0, size, TILE):
        part = sums[start : start + TILE]
        at, got = positions[: len(part)], found[: len(part)]
        for own, table in zip(codes, counts, strict=True):
            at[:] = own[start : start + TILE]
            # No code is out of range; "clip" spares the copy with which "raise" guards ``out``.
            np.take(table, at, out=got, mode="clip")
            part += got
    return sums


def count_members(members: np.ndarray, lengths: np.ndarray, counts: np.ndarray, size: int) -> np.ndarray:
    """How often each of ``size`` rows was hit, (size,) float64, from buckets laid end to end.

    Args:
        members: (Σ lengths,) row ids in [0, size), bucket after bucket.
        lengths: (k,) rows of each bucket.
        counts: (k,) by how much each bucket counts.
        size: n.

    """
    # Sums of whole numbers below 2^53: exact, so that the order of the buckets changes no bit.
    return np.bincount(members, weights=np.repeat(counts, lengths), minlength=size)


def bucket_keys(codes: np.ndarray, buckets: int) -> np.ndarray:
    """Keys ``table · buckets + code`` (count, L), int32, of bucket numbers ``codes`` (count, L)."""
    tables = codes.shape[1]
    return np.asarray(codes + np.arange(tables, dtype=np.int32) * np.int32(buckets), np.int32)
