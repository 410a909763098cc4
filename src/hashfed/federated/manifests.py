"""What a client knows of a round's manifest before it comes: how long it may be, and what must be in it.

Whoever sends the manifest may be broken or hostile: what is read into memory, what is drawn from the
encoder's numbers and how much is fetched afterwards are bounded by what the client's own configuration says.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from hashfed.errors import HashfedError
from hashfed.federated.checks import ModelShape
from hashfed.federated.codec import prefixed
from hashfed.federated.messages import DIGEST, Manifest
from hashfed.retrieval import EncoderShape, NoEncoder, RetrievalSettings
from hashfed.retrieval.checks import Expected, check_arrays
from hashfed.retrieval.method import BucketShape

HEADER = 4096
"""Bytes that are more than enough for the numbers of a manifest, as text."""
HEADER_LINE = 256
"""Bytes that are more than enough for type, shape and place of one array, besides its name."""


@dataclass(frozen=True)
class ManifestShape:
    """What the client's configuration says about all manifests of the run.

    Attributes:
        model: shape of its tables and of the parameters below the output layer.
        retrieval: of the run; None where all rows are sent, so that there is no index.
        seed: of the run.
        counts: whether the method uses the public counts.

    """

    model: ModelShape
    retrieval: RetrievalSettings | None
    seed: int
    counts: bool

    @property
    def buckets(self) -> int:
        """The most buckets that can hold rows: all, or one for each row and table; 0 without hashing."""
        shape = self._shape
        return 0 if shape is None else min(shape.tables << shape.bits, self.model.size * shape.tables)

    @property
    def most_bytes(self) -> int:
        """The longest that an encoded manifest can be, with room to spare in its header."""
        arrays = self._arrays(self.buckets)
        content = sum(
            max(np.dtype(dtype).itemsize for dtype in dtypes) * int(np.prod(shape, dtype=np.int64))
            for dtypes, shape in arrays.values()
        )
        return content + HEADER + sum(HEADER_LINE + len(name.encode()) for name in arrays)

    def check(self, manifest: Manifest, round: int) -> None:
        """Refuse a manifest of another round, model or index, or one that contradicts itself.

        Raises:
            HashfedError: where a number, a shape, a type or a value is wrong.

        """
        if manifest.round != round:
            raise HashfedError(f"manifest of round {manifest.round}: must be of round {round}")
        try:
            self._check_numbers(manifest)
            check_arrays(_arrays_of(manifest), self._arrays(len(manifest.buckets)))
            self._check_values(manifest)
        except HashfedError as error:
            raise HashfedError(f"manifest of round {round}: {error}") from None

    @property
    def _shape(self) -> BucketShape | None:
        return None if self.retrieval is None else self.retrieval.bucket_shape

    @property
    def encoder(self) -> EncoderShape:
        """Of the run."""
        if self.retrieval is None:
            return EncoderShape(NoEncoder.kind)
        return self.retrieval.encoder_shape(self.model.dimension, self.seed)

    def _arrays(self, buckets: int) -> dict[str, Expected]:
        """All arrays of a manifest with so many buckets."""
        n = self.model.size
        arrays: dict[str, Expected] = {
            "row_addresses": ((np.uint8,), (n, DIGEST)),
            "buckets": ((np.int32,), (buckets,)),
            "bucket_rows": ((np.int32,), (buckets,)),
            "bucket_addresses": ((np.uint8,), (buckets, DIGEST)),
        }
        arrays |= {f"body.{name}": ((np.float32,), tuple(shape)) for name, shape in self.model.body.items()}
        for name, (size, _) in self.model.inputs.items():
            arrays[f"input_addresses.{name}"] = (np.uint8,), (size, DIGEST)
        if self.counts:
            arrays["prior"] = (np.int32, np.float64), (n,)
        arrays |= {f"encoder.{name}": expected for name, expected in self.encoder.arrays.items()}
        if self._shape is not None and self._shape.ranges > 1:
            arrays["ranges"] = (np.uint8,), (n,)
            arrays["limits"] = (np.float64,), (self._shape.ranges,)
        return arrays

    def _check_numbers(self, manifest: Manifest) -> None:
        if manifest.width != self.model.dimension:
            raise HashfedError(f"width = {manifest.width}: must be {self.model.dimension}")
        self.encoder.check_numbers(manifest.encoder, manifest.encoder_numbers)

    def _check_values(self, manifest: Manifest) -> None:
        if manifest.prior is not None and (manifest.prior < 0).any():
            raise HashfedError("prior: has a count below 0")
        ranges, limits = manifest.ranges, manifest.limits
        if ranges is not None and limits is not None:
            if limits[0] < 0 or (limits[1:] < limits[:-1]).any():
                raise HashfedError("limits: must ascend from 0 or more")
            if (ranges >= len(limits)).any():
                raise HashfedError(f"ranges: must be from 0 to {len(limits) - 1}")
        if self._shape is not None:
            self._check_buckets(self._shape, manifest.buckets, manifest.bucket_rows)

    def _check_buckets(self, shape: BucketShape, buckets: np.ndarray, held: np.ndarray) -> None:
        """Each row is in one bucket of each table, so the slices of a client are not longer than that."""
        total, size = shape.tables << shape.bits, self.model.size
        if (buckets[1:] <= buckets[:-1]).any():
            raise HashfedError("buckets must ascend without repetition")
        if len(buckets) and (buckets[0] < 0 or buckets[-1] >= total):
            raise HashfedError(f"buckets from {buckets[0]} to {buckets[-1]}: must be from 0 to {total - 1}")
        if len(held) and (held.min() < 1 or held.max() > size):
            raise HashfedError(f"a bucket must hold 1 to {size} rows")
        sums = np.bincount(buckets >> shape.bits, held, shape.tables)
        if (sums != size).any():
            table = int(np.flatnonzero(sums != size)[0])
            raise HashfedError(f"bucket_rows: {sums[table]:.0f} rows in table {table}: must be {size}")


def _arrays_of(manifest: Manifest) -> dict[str, np.ndarray]:
    """All of its arrays by name; those of buckets also where there are none."""
    arrays: dict[str, Any] = {
        name: getattr(manifest, name)
        for name in (
            "row_addresses",
            "buckets",
            "bucket_rows",
            "bucket_addresses",
            "prior",
            "ranges",
            "limits",
        )
    }
    arrays |= {f"body.{name}": value.detach().cpu().numpy() for name, value in manifest.body.items()}
    arrays |= prefixed("encoder", manifest.encoder_arrays)
    arrays |= prefixed("input_addresses", manifest.input_addresses)
    return {name: value for name, value in arrays.items() if value is not None}
