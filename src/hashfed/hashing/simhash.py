"""SimHash: the signs of random projections (paper, definition 1; Charikar 2002)."""

from dataclasses import InitVar, dataclass, field

import numpy as np
import torch

from hashfed.errors import HashfedError
from hashfed.hashing.probes import likely_sets, probe_masks
from hashfed.hashing.projections import ProjectionKind, orthogonal_projections, random_projections

MAX_BITS = 16
"""Largest K: a table has 2^K buckets, and the offsets of all tables must stay small."""
CHUNK = 2048
"""Vectors hashed at a time: CHUNK·K·L products are few enough to stay in the cache until they are bits."""
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

    def hash(self, vectors: torch.Tensor) -> np.ndarray:
        """Bucket numbers of ``vectors`` (count, d), float32: an int32 array (count, L), each in [0, 2^K).

        Bit k of table l is 1 where projection k·L + l is > 0 (definition 1). A zero vector gets bucket
        0 in every table. The codes of a vector do not depend on those hashed with it.
        """
        codes = np.empty((len(vectors), self.tables), np.int32)
        for start in range(0, len(vectors), CHUNK):
            part = vectors[start : start + CHUNK]
            codes[start : start + CHUNK] = self._codes(part, part @ self.projections.T)
        return codes

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
        step = max(1, PROBE_CHUNK // (self.tables * len(likely_sets(self.bits, extra))))
        for start in range(0, len(vectors), step):
            vector, part = vectors[start : start + step], codes[start : start + step]
            products = vector @ self.projections.T
            part[:, :, :1] = self._codes(vector, products)[:, :, None]
            margins = products.numpy().reshape(-1, self.bits, self.tables).transpose(0, 2, 1)
            masks = probe_masks(margins.reshape(-1, self.bits), extra)
            part[:, :, 1:] = part[:, :, :1] ^ masks.reshape(len(part), self.tables, extra)
        return codes

    def _codes(self, vectors: torch.Tensor, products: torch.Tensor) -> np.ndarray:
        """Bucket numbers (count, L) int32, from the vectors and their projections (count, K·L)."""
        signs = self._signs(vectors, products).reshape(-1, self.bits, self.tables)
        codes = signs[:, 0].astype(np.int32)
        for bit in range(1, self.bits):
            codes |= signs[:, bit].astype(np.int32) << np.int32(bit)
        return codes

    def _signs(self, vectors: torch.Tensor, products: torch.Tensor) -> np.ndarray:
        """Where ``products`` (count, K·L) are above 0; those that rounding could decide, in float64.

        A matrix product adds up in an order that depends on its size, the threads and the machine. Without
        the check a row that is hashed alone could differ from the same row hashed with all others.
        """
        signs = np.asarray((products > 0).numpy())
        lengths = torch.linalg.vector_norm(vectors, dim=1, dtype=torch.float64)
        longest = float(torch.linalg.vector_norm(self.projections, dim=1).max())
        # The error of a sum of d products is below d·2^−24·‖x‖·‖a‖; tiny vectors also underflow.
        unsure = (self.dimension + 2) * 2.0**-24 * longest * lengths.clamp(min=1e-30) * (lengths > 0)
        sure = np.abs(products.numpy()) >= unsure.float().numpy()[:, None]
        doubt = np.flatnonzero(~sure)
        for start in range(0, len(doubt), CHUNK):
            row, direction = np.divmod(doubt[start : start + CHUNK], products.shape[1])
            one, other = vectors.numpy()[row], self.projections.numpy()[direction]
            exact = (one.astype(np.float64) * other).sum(axis=1)
            signs[row, direction] = exact > 0
        return signs


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


def collision_probability(angle: np.ndarray, bits: int) -> np.ndarray:
    """Chance that two vectors at ``angle`` (radians) share a bucket: (1 − θ/π)^K (definition 1)."""
    return np.asarray((1.0 - np.asarray(angle) / np.pi) ** bits)
