"""L hash tables over the n rows, stored as compressed lists (paper, section 3.2, step 1)."""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class HashTables:
    """Which rows lie in which bucket.

    A bucket's *key* is ``table · 2^K + bucket number``; its rows are
    ``members[starts[key] : starts[key + 1]]``.

    Attributes:
        members: (L·n,) int32 row ids, grouped by key, ascending within a bucket.
        starts: (L·2^K + 1,) int64.
        size: n, number of rows.

    """

    members: np.ndarray
    starts: np.ndarray
    size: int

    @classmethod
    def build(cls, codes: np.ndarray, bits: int) -> "HashTables":
        """Tables from the rows' bucket numbers ``codes`` (n, L), int32 in [0, 2^K)."""
        count, tables = codes.shape
        buckets = 1 << bits
        members = np.empty(tables * count, np.int32)
        sizes = np.empty(tables * buckets, np.int64)
        # numpy sorts 16-bit integers by radix: K ≤ 16 makes this linear in n.
        narrow = np.ascontiguousarray(codes.T.astype(np.uint16))
        for table in range(tables):
            members[table * count : (table + 1) * count] = np.argsort(narrow[table], kind="stable")
            sizes[table * buckets : (table + 1) * buckets] = np.bincount(narrow[table], minlength=buckets)
        starts = np.zeros(tables * buckets + 1, np.int64)
        np.cumsum(sizes, out=starts[1:])
        return cls(members, starts, count)

    def keys(self, codes: np.ndarray) -> np.ndarray:
        """Keys (count, L), int32, of queries with bucket numbers ``codes`` (count, L)."""
        return bucket_keys(codes, (len(self.starts) - 1) // codes.shape[1])

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
        first = self.starts[keys]
        lengths = self.starts[keys + 1] - first
        total = int(lengths.sum())
        # Positions of all members of all these buckets, without a loop over buckets.
        shift = np.repeat(first - (np.cumsum(lengths) - lengths), lengths)
        rows = self.members[np.arange(total) + shift]
        weights = np.repeat(counts, lengths)
        return np.bincount(rows, weights=weights, minlength=self.size).astype(np.float64, copy=False)


def bucket_keys(codes: np.ndarray, buckets: int) -> np.ndarray:
    """Keys ``table · buckets + code`` (count, L), int32, of bucket numbers ``codes`` (count, L)."""
    tables = codes.shape[1]
    return np.asarray(codes + np.arange(tables, dtype=np.int32) * np.int32(buckets), np.int32)
