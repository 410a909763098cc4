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
from hashfed.hashing.tables import HashTables, count_members
from hashfed.models import OUTPUT, Parameters
from hashfed.retrieval import Candidates, Index, Keys, NoEncoder, RetrievalSettings, make_encoder
from hashfed.retrieval.method import Published
from hashfed.retrieval.range_scale import RangeScale

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
        index: over its rows; one with buckets has slices of them, one that asks for no keys has none.
        prior: (n,) public counts as they travel (``pack_counts``), or None where clients need none.
        round: its number.

    Raises:
        HashfedError: where the index needs keys and has no buckets.

    """
    hashed, encoder = index.buckets, index.encoder
    if hashed is None and encoder.kind != NoEncoder.kind:
        raise HashfedError(f"pre-generated slices: an index with encoder {encoder.kind} has none")
    slices: dict[str, bytes] = {}

    def addresses(parts: Iterator[bytes], count: int) -> np.ndarray:
        found = np.empty((count, DIGEST), np.uint8)
        for position, data in enumerate(parts):
            address = address_of(data)
            slices[address] = data
            found[position] = np.frombuffer(bytes.fromhex(address), np.uint8)
        return found

    of_tables = {
        name: addresses(_row_slices(table.cpu()), len(table)) for name, table in parameters.tables.items()
    }
    row_addresses = of_tables.pop(OUTPUT)
    tables, scale = (None, None) if hashed is None else (hashed.tables, hashed.scale)
    buckets, held = filled_buckets(tables)
    manifest = Manifest(
        round,
        parameters.rows.shape[1],
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
        of_tables,
    )
    return manifest, slices


def filled_buckets(tables: HashTables | None) -> tuple[np.ndarray, np.ndarray]:
    """Keys (b,) int32, ascending, of the buckets that hold rows, and how many rows each holds, (b,) int32."""
    if tables is None:
        return np.empty(0, np.int32), np.empty(0, np.int32)
    held = np.diff(tables.starts)
    keys = np.flatnonzero(held)
    return keys.astype(np.int32), held[keys].astype(np.int32)


def _row_slices(rows: torch.Tensor) -> Iterator[bytes]:
    for row in rows.numpy():
        yield row.astype(FLOAT, copy=False).tobytes()


def _bucket_slices(tables: HashTables | None, buckets: np.ndarray) -> Iterator[bytes]:
    if tables is not None:
        for key in buckets.tolist():
            yield bucket_slice(tables, key)


def bucket_slice(tables: HashTables, key: int) -> bytes:
    """The slice of one bucket."""
    return tables.bucket(key).astype(ID, copy=False).tobytes()


# The client's side


def wanted_rows(addresses: np.ndarray, width: int, ids: np.ndarray) -> list[Wanted]:
    """The slices of the rows ``ids`` (k,), in this order.

    Args:
        addresses: (n, 32) of the manifest, of all rows of the table.
        width: numbers of a row.
        ids: int64.

    """
    return [Wanted(bytes(addresses[row]).hex(), width * FLOAT.itemsize) for row in ids.tolist()]


def read_rows(width: int, slices: Sequence[bytes]) -> torch.Tensor:
    """Rows (k, width) float32 from their slices."""
    table = np.frombuffer(bytearray().join(slices), FLOAT).reshape(-1, width)
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

    encoder = make_encoder(manifest.encoder, manifest.encoder_numbers | manifest.encoder_arrays)
    scale = None
    if manifest.ranges is not None and manifest.limits is not None:
        scale = RangeScale(manifest.ranges, manifest.limits)
    if settings.uses_counts and manifest.prior is None:
        raise HashfedError(
            f"manifest of round {manifest.round}: without the label counts that the method needs"
        )
    prior = np.zeros(size) if manifest.prior is None else unpack_counts(manifest.prior)
    return settings.find(keys, Published(encoder, count, scale, prior))


def addresses_in(manifest: Manifest) -> set[str]:
    """The addresses of all slices of a round."""
    tables = manifest.row_addresses, manifest.bucket_addresses, *manifest.input_addresses.values()
    return {bytes(line).hex() for table in tables for line in table}


def _places(manifest: Manifest, keys: Mapping[str, np.ndarray]) -> np.ndarray:
    """Where the buckets of ``keys`` that hold rows stand in the manifest."""
    if "buckets" not in keys:
        return np.empty(0, np.int64)
    return np.flatnonzero(np.isin(manifest.buckets, keys["buckets"]))
