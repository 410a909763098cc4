"""Slices of a round that all clients fetch from: one for each row and one for each hash bucket.

Pre-generated slices (Charles et al. 2022, Federated Select): the server makes them before anybody asks, and
whoever stores them learns which addresses are asked for, not by whom. A slice's address is the SHA-256 of its
bytes: equal slices are one, and a slice that was changed on its way is noticed.

    a row     d float32, little-endian
    a bucket  the ids of its rows, int32, little-endian, ascending
"""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from hashfed.errors import HashfedError
from hashfed.federated.messages import DIGEST, Manifest, unpack_counts
from hashfed.hashing.tables import count_members
from hashfed.models import Parameters
from hashfed.retrieval import Candidates, Index, Keys, RetrievalSettings, make_encoder
from hashfed.retrieval.frequency import FrequencyIndex
from hashfed.retrieval.simhash_collisions import SimHashCollisionsIndex
from hashfed.retrieval.simhash_encoder import SimHashEncoder
from hashfed.retrieval.simhash_scores import RangeScale, frequency_weight, most_collisions, union_of_buckets
from hashfed.retrieval.simhash_tables import SimHashTables
from hashfed.retrieval.simhash_union import SimHashUnionIndex

FLOAT, ID = np.dtype("<f4"), np.dtype("<i4")


@dataclass(frozen=True)
class Wanted:
    """A slice to fetch.

    Attributes:
        address: SHA-256 of its bytes, 64 hexadecimal digits.
        size: its bytes.

    """

    address: str
    size: int


def address_of(data: bytes) -> str:
    """The address of a slice: its SHA-256 in hexadecimal digits."""
    return hashlib.sha256(data).hexdigest()


def verified(wanted: Wanted, data: bytes) -> bytes:
    """``data``, if it is the slice that was asked for.

    Raises:
        HashfedError: where its size or its hash is another.

    """
    if len(data) != wanted.size:
        raise HashfedError(f"slice {wanted.address}: {len(data)} bytes came: must be {wanted.size}")
    if address_of(data) != wanted.address:
        raise HashfedError(f"slice {wanted.address}: its bytes were changed: their SHA-256 is another")
    return data


# The server's side


def make_slices(
    parameters: Parameters, index: Index, prior: np.ndarray | None, round: int
) -> tuple[Manifest, dict[str, bytes]]:
    """All slices of a round by address, and the manifest that says which is which.

    Args:
        parameters: the model before this round.
        index: over its rows; a SimHash index has bucket slices, one that asks for no keys has none.
        prior: (n,) public counts as they travel (``pack_counts``), or None where clients need none.
        round: its number.

    Raises:
        HashfedError: where the index needs keys and has no buckets.

    """
    tables = hash_tables(index)
    encoder = index.encoder
    if tables is None and encoder.kind != "none":
        raise HashfedError(f"pre-generated slices: an index with encoder {encoder.kind} has none")
    slices: dict[str, bytes] = {}

    def addresses(parts: Iterator[bytes], count: int) -> np.ndarray:
        found = np.empty((count, DIGEST), np.uint8)
        for position, data in enumerate(parts):
            address = address_of(data)
            slices[address] = data
            found[position] = np.frombuffer(bytes.fromhex(address), np.uint8)
        return found

    rows = parameters.rows.cpu()
    row_addresses = addresses(_row_slices(rows), len(rows))
    buckets, held = filled_buckets(tables)
    scale = None if tables is None else tables.scale
    manifest = Manifest(
        round,
        rows.shape[1],
        parameters.body,
        encoder.kind,
        encoder.numbers(),
        row_addresses,
        buckets,
        held,
        addresses(_bucket_slices(tables, buckets), len(buckets)),
        encoder.arrays(),
        prior,
        None if scale is None else scale.ranges,
        None if scale is None else scale.limits,
    )
    return manifest, slices


def hash_tables(index: Index) -> SimHashTables | None:
    """The tables of a SimHash index; None for another."""
    return index.tables if isinstance(index, SimHashUnionIndex | SimHashCollisionsIndex) else None


def filled_buckets(tables: SimHashTables | None) -> tuple[np.ndarray, np.ndarray]:
    """Keys (b,) int32, ascending, of the buckets that hold rows, and how many rows each holds, (b,) int32."""
    if tables is None:
        return np.empty(0, np.int32), np.empty(0, np.int32)
    held = np.diff(tables.tables.starts)
    keys = np.flatnonzero(held)
    return keys.astype(np.int32), held[keys].astype(np.int32)


def _row_slices(rows: torch.Tensor) -> Iterator[bytes]:
    for row in rows.numpy():
        yield row.astype(FLOAT, copy=False).tobytes()


def _bucket_slices(tables: SimHashTables | None, buckets: np.ndarray) -> Iterator[bytes]:
    if tables is not None:
        for key in buckets.tolist():
            yield bucket_slice(tables, key)


def bucket_slice(tables: SimHashTables, key: int) -> bytes:
    """The slice of one bucket."""
    return tables.tables.bucket(key).astype(ID, copy=False).tobytes()


# The client's side


def wanted_rows(manifest: Manifest, ids: np.ndarray) -> list[Wanted]:
    """The slices of the rows ``ids`` (k,), in this order."""
    size = manifest.width * FLOAT.itemsize
    return [Wanted(bytes(manifest.row_addresses[row]).hex(), size) for row in ids.tolist()]


def read_rows(manifest: Manifest, slices: Sequence[bytes]) -> torch.Tensor:
    """Rows (k, d) float32 from their slices."""
    table = np.frombuffer(bytearray().join(slices), FLOAT).reshape(-1, manifest.width)
    return torch.from_numpy(table.astype(np.float32, copy=False))


def wanted_buckets(manifest: Manifest, keys: Keys) -> list[Wanted]:
    """The slices of the buckets that ``keys`` name and that hold rows; none where keys name no buckets."""
    return [
        Wanted(bytes(manifest.bucket_addresses[place]).hex(), int(manifest.bucket_rows[place]) * ID.itemsize)
        for place in _places(manifest, keys).tolist()
    ]


def find_candidates(
    settings: RetrievalSettings, manifest: Manifest, keys: Keys, slices: Sequence[bytes]
) -> Candidates:
    """What the server's index would answer to ``keys``, bit for bit.

    Args:
        settings: of the run.
        manifest: of the round.
        keys: of the client's queries; empty for methods that need none.
        slices: those of ``wanted_buckets``, in this order.

    Raises:
        HashfedError: where keys, counts or slices do not fit, or the method has no slices.

    """
    size = len(manifest.row_addresses)
    if settings.method == "random":
        return Candidates.none()
    if settings.method == "frequency":
        return FrequencyIndex(np.asarray(_prior(manifest), np.float64)).lookup(keys)
    encoder = make_encoder(manifest.encoder, manifest.encoder_numbers | manifest.encoder_arrays)
    if not isinstance(encoder, SimHashEncoder):
        raise HashfedError(f"pre-generated slices: retrieval.method = {settings.method} has none")
    filled = manifest.buckets[_places(manifest, keys)]
    members = np.frombuffer(b"".join(slices), ID)
    lengths = np.array([len(data) // ID.itemsize for data in slices], np.int64)
    if len(members) and (members.min() < 0 or members.max() >= size):
        raise HashfedError(
            f"bucket slices with ids {members.min()} to {members.max()}: there are {size} rows"
        )

    def count(buckets: np.ndarray, counts: np.ndarray) -> np.ndarray:
        # Buckets without rows have no slice, and hit nobody.
        return count_members(members, lengths, counts[np.isin(buckets, filled)], size)

    if settings.method == "simhash-union":
        return union_of_buckets(encoder, keys, count)
    scale = None
    if manifest.ranges is not None and manifest.limits is not None:
        scale = RangeScale(manifest.ranges, manifest.limits)
    weight = frequency_weight(_prior(manifest), settings.prior)
    return most_collisions(encoder, keys, count, scale, weight)


def addresses_in(manifest: Manifest) -> set[str]:
    """The addresses of all slices of a round."""
    tables = manifest.row_addresses, manifest.bucket_addresses
    return {bytes(line).hex() for table in tables for line in table}


def _places(manifest: Manifest, keys: Mapping[str, np.ndarray]) -> np.ndarray:
    """Where the buckets of ``keys`` that hold rows stand in the manifest."""
    if "buckets" not in keys:
        return np.empty(0, np.int64)
    return np.flatnonzero(np.isin(manifest.buckets, keys["buckets"]))


def _prior(manifest: Manifest) -> np.ndarray:
    if manifest.prior is None:
        raise HashfedError(
            f"manifest of round {manifest.round}: without the label counts that the method needs"
        )
    return unpack_counts(manifest.prior)
