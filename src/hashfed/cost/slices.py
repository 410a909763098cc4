"""What a client fetches of pre-generated slices: exactly, where its keys and the index are known."""

from dataclasses import dataclass

import numpy as np

from hashfed.cost.keys import Hashing
from hashfed.federated.slices import FLOAT, ID, bucket_slice, filled_buckets
from hashfed.retrieval import Index
from hashfed.retrieval.method import BucketShape


@dataclass(frozen=True)
class BucketTraffic:
    """Bucket slices of a round and of a client.

    Attributes:
        filled: buckets of the index that hold rows: each has an entry in the manifest.
        fetched: slices that the client fetches, equal ones once.
        bytes: of them.

    """

    filled: int
    fetched: int
    bytes: int


def known_buckets(index: Index, hashing: Hashing) -> BucketTraffic:
    """Exactly what a client with these keys fetches of this index."""
    if index.buckets is None or not hashing.asked:
        return BucketTraffic(0, 0, 0)
    tables = index.buckets.tables
    filled, _ = filled_buckets(tables)
    wanted = np.intersect1d(filled, hashing.keys["buckets"])
    distinct = {bucket_slice(tables, key) for key in wanted.tolist()}
    return BucketTraffic(len(filled), len(distinct), sum(len(data) for data in distinct))


def typical_buckets(shape: BucketShape | None, hashing: Hashing, size: int) -> BucketTraffic:
    """The same for an index that nobody has built: ``size`` rows thrown uniformly into buckets of this shape.

    A bucket is expected to hold n / 2^K rows, and to be empty with chance (1 − 2^−K)^n. Real rows crowd:
    buckets that queries fall into hold more.
    """
    if shape is None or not hashing.asked:
        return BucketTraffic(0, 0, 0)
    bits, tables = shape.bits, shape.tables
    share = 2.0**-bits
    held = 1 - (1 - share) ** size
    wanted = len(hashing.keys["buckets"])
    fetched = round(wanted * held)
    return BucketTraffic(round((tables << bits) * held), fetched, round(wanted * size * share) * ID.itemsize)


def fetched_slices(buckets: BucketTraffic, *rows: tuple[int, int]) -> tuple[int, int]:
    """Slices that a client fetches and their bytes: its buckets, and rows, no two of them equal.

    Args:
        buckets: that it fetches.
        rows: how many of a table, and their length.

    """
    count, floats = sum(many for many, _ in rows), sum(many * width for many, width in rows)
    return buckets.fetched + count, buckets.bytes + floats * FLOAT.itemsize
