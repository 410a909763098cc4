"""SimHash: the signs of random projections (paper, definition 1; Charikar 2002)."""

from collections.abc import Iterable
from dataclasses import InitVar, dataclass, field

import numpy as np
import torch

from hashfed.errors import HashfedError
from hashfed.hashing.probes import likely_sets, probe_masks
from hashfed.hashing.projections import ProjectionKind, orthogonal_projections, random_projections

MAX_BITS = 16
"""Largest K: a table has 2^K buckets, and the offsets of all tables must stay small."""
CHUNK = 2048
"""Most vectors hashed at a time."""
PRODUCTS = 1 << 18
"""Products held at a time (1 MiB), where that is more than ``LEAST`` vectors: they stay in the cache until
they are bits."""
LEAST = 128
"""Vectors hashed at a time at least: a matrix product with fewer is slow."""
TINY = 1e-15
"""Below this length a square may underflow in float32."""
MAX_PROJECTIONS = 8192
"""Largest K·L: the projections are K·L·d floats on the client."""
PROBE_CHUNK = 1 << 21
"""Costs of perturbation sets compared at a time."""


@dataclass(frozen=True)
class SimHash:
    """L SimHash functions of K bits each.

    Unless they are learned, the projections are drawn from the seed, so a client needs a few numbers, not
    K·L·d floats.

    Attributes:
        bits: K, hash bits per table, 1 to 16.
        tables: L, number of tables, with K·L ≤ 8192.
        dimension: d, length of the vectors.
        seed: of the projections, ≥ 0.
        kind: how the projections are chosen.
        learned: for ``pca``: the projections (K·L, d) float32; None for the others.
        projections: (K·L, d) float32.

    Raises:
        HashfedError: where K, L, K·L or the learned projections are out of range.

    """

    bits: int
    tables: int
    dimension: int
    seed: int
    kind: ProjectionKind = "random"
    learned: InitVar[torch.Tensor | None] = None
    projections: torch.Tensor = field(init=False, repr=False, compare=False)

    def __post_init__(self, learned: torch.Tensor | None) -> None:
        check_size(self.bits, self.tables)
        count = self.bits * self.tables
        if (learned is not None) != (self.kind == "pca"):
            raise HashfedError(
                f"projections of kind {self.kind}: an array is needed for pca, and only for it"
            )
        if learned is not None:
            if learned.shape != (count, self.dimension) or learned.dtype != torch.float32:
                raise HashfedError(
                    f"projections of type {learned.dtype} and shape {tuple(learned.shape)}: must be "
                    f"float32, ({count}, {self.dimension})"
                )
            projections = learned
        elif self.kind == "orthogonal":
            projections = orthogonal_projections(count, self.dimension, self.seed)
        else:
            projections = random_projections(count, self.dimension, self.seed)
        object.__setattr__(self, "projections", projections)

    @property
    def chunk(self) -> int:
        """How many vectors are hashed at a time."""
        return min(CHUNK, max(LEAST, PRODUCTS // len(self.projections)))

    def hash(self, vectors: torch.Tensor) -> np.ndarray:
        """Bucket numbers of ``vectors`` (count, d), float32: an int32 array (count, L), each in [0, 2^K).

        Bit k of table l is 1 where projection k·L + l is > 0 (definition 1). A zero vector gets bucket
        0 in every table. The codes of a vector do not depend on those hashed with it.
        """
        codes = np.empty((self.tables, len(vectors)), code_type(self.bits))
        self.write(vectors.split(self.chunk), codes)
        return np.ascontiguousarray(codes.T, np.int32)

    def write(self, parts: Iterable[torch.Tensor], codes: np.ndarray) -> None:
        """As ``hash``, by table and into an array that exists.

        Args:
            parts: vectors (count, d) float32 in pieces; fast where each has ``chunk``.
            codes: (L, all vectors of the parts), of ``code_type``; overwritten.

        """
        signs, start = _Signs(self), 0
        for part in parts:
            stop = start + len(part)
            if start < stop:
                _pack(signs.of(part, signs.products(part)), codes[:, start:stop])
            start = stop

    def probe(self, vectors: torch.Tensor, probes: int) -> np.ndarray:
        """As ``hash``, then the buckets that each vector just missed (``hashing.probes``).

        Returns:
            (count, L, 1 + min(P, 2^K − 1)) int32, distinct along the last axis.

        """
        extra = min(probes, (1 << self.bits) - 1)
        codes = np.empty((len(vectors), self.tables, 1 + extra), np.int32)
        if extra == 0:
            codes[:, :, 0] = self.hash(vectors)
            return codes
        step = min(self.chunk, max(1, PROBE_CHUNK // (self.tables * len(likely_sets(self.bits, extra)))))
        signs = _Signs(self)
        own = np.empty((self.tables, len(vectors)), code_type(self.bits))
        for start in range(0, len(vectors), step):
            vector, part = vectors[start : start + step], codes[start : start + step]
            products = signs.products(vector)
            margins = products.reshape(self.bits, self.tables, -1).transpose(2, 1, 0)
            masks = probe_masks(margins.reshape(-1, self.bits), extra)
            _pack(signs.of(vector, products), own[:, start : start + step])
            part[:, :, 0] = own[:, start : start + step].T
            part[:, :, 1:] = part[:, :, :1] ^ masks.reshape(len(part), self.tables, extra)
        return codes


class _Signs:
    """Signs of the projections of a few vectors at a time, in arrays that are used again."""

    def __init__(self, simhash: SimHash) -> None:
        self._projections = simhash.projections
        longest = float(torch.linalg.vector_norm(self._projections, dim=1).max())
        # The error of a sum of d products is below d·2^−24·‖x‖·‖a‖, and that of the lengths is in the 1%.
        self._error = 1.01 * (simhash.dimension + 2) * 2.0**-24 * longest
        self._products = torch.empty(len(self._projections), 0)
        self._signs = self._doubt = np.empty((len(self._projections), 0), bool)

    def products(self, vectors: torch.Tensor) -> np.ndarray:
        """Projections (K·L, count) of ``vectors`` (count, d), valid until the next call."""
        if self._products.shape[1] != len(vectors):
            self._products = torch.empty(len(self._projections), len(vectors))
            self._signs, self._doubt = np.empty((2, *self._products.shape), bool)
        # By projection, not by vector: what follows runs along the vectors, however few tables there are.
        torch.mm(self._projections, vectors.T, out=self._products)
        return self._products.numpy()

    def of(self, vectors: torch.Tensor, products: np.ndarray) -> np.ndarray:
        """Where ``products`` (K·L, count) are above 0; those that rounding could decide, in float64.

        A matrix product adds up in an order that depends on its size, the threads and the machine. Without
        the check a row that is hashed alone could differ from the same row hashed with all others.

        ``products`` are overwritten; the answer is valid until the next call.
        """
        np.greater(products, 0, out=self._signs)
        np.less(np.abs(products, out=products), self._unsure(vectors), out=self._doubt)
        doubt = np.flatnonzero(self._doubt)
        for start in range(0, len(doubt), CHUNK):
            direction, row = np.divmod(doubt[start : start + CHUNK], len(vectors))
            one, other = vectors.numpy()[row], self._projections.numpy()[direction]
            exact = (one.astype(np.float64) * other).sum(axis=1)
            self._signs[direction, row] = exact > 0
        return self._signs

    def _unsure(self, vectors: torch.Tensor) -> np.ndarray:
        """Bounds (count,) float32 on the rounding error of the products of each of ``vectors``."""
        lengths = torch.linalg.vector_norm(vectors, dim=1)
        if not bool(lengths.amin() >= TINY):
            tiny = (lengths < TINY).nonzero()[:, 0]
            exact = torch.linalg.vector_norm(vectors[tiny], dim=1, dtype=torch.float64)
            # The products of tiny vectors underflow too; a zero vector's are exact.
            lengths[tiny] = (exact.clamp(min=1e-30) * (exact > 0)).float()
        return np.asarray(lengths.mul_(self._error).numpy())


def code_type(bits: int) -> type[np.uint8] | type[np.uint16]:
    """The narrowest integers for bucket numbers of ``bits`` bits, 1 to 16."""
    return np.uint8 if bits <= 8 else np.uint16


def _pack(signs: np.ndarray, codes: np.ndarray) -> None:
    """Bits (K·L, count), the lowest of all tables first, to bucket numbers ``codes`` (L, count)."""
    bits = signs.view(np.uint8).reshape(-1, *codes.shape)
    low = _bytes(bits[:8])
    if len(bits) <= 8:
        codes[...] = low
    else:
        np.multiply(_bytes(bits[8:]), 256, out=codes, dtype=np.uint16)
        np.add(codes, low, out=codes)


def _bytes(bits: np.ndarray) -> np.ndarray:
    """Bits (up to 8, L, count) of 0 and 1, the lowest first, to numbers (L, count) uint8."""
    # In an array of its own: numpy is slow on a slice of each table, and sums are faster than shifts.
    numbers: np.ndarray = bits[-1].copy()
    for bit in bits[-2::-1]:
        np.add(numbers, numbers, out=numbers)
        np.bitwise_or(numbers, bit, out=numbers)
    return numbers


def check_size(bits: int, tables: int) -> None:
    """Raise a HashfedError unless 1 ≤ K ≤ 16, L ≥ 1 and K·L ≤ 8192."""
    if not 1 <= bits <= MAX_BITS:
        raise HashfedError(f"retrieval.bits = {bits}: K must be from 1 to {MAX_BITS}")
    if tables < 1:
        raise HashfedError(f"retrieval.tables = {tables}: L must be at least 1")
    if bits * tables > MAX_PROJECTIONS:
        raise HashfedError(
            f"retrieval.bits × retrieval.tables = {bits * tables}: K·L must be at most {MAX_PROJECTIONS}"
        )
