"""Vectors as a few bits per coordinate, after a random rotation.

A rotated unit vector in high dimension has nearly Gaussian coordinates, whatever its data set, so one
fixed quantizer serves all: nothing is trained, and a receiver needs the seed alone. With one bit this is
SimHash with orthogonal projections, kept per vector instead of per bucket (compare RaBitQ, Gao & Long
2024; the quantizer's steps are those of Max 1960 for a normal variable).
"""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch

from hashfed.errors import HashfedError
from hashfed.hashing.orthogonal import random_orthogonal
from hashfed.randomness import stream

STEPS = {1: 1.5958, 2: 0.9957, 4: 0.3352, 8: 0.0308}
"""Width of a level of the best uniform quantizer of a standard normal variable, by bits (Max 1960)."""


@dataclass(frozen=True)
class RotatedCodes:
    """A quantizer of vectors of length ``dimension``.

    Attributes:
        dimension: d.
        bits: per coordinate: 1, 2, 4 or 8.
        seed: of the rotation.

    Raises:
        HashfedError: for another number of bits.

    """

    dimension: int
    bits: int
    seed: int

    def __post_init__(self) -> None:
        if self.bits not in STEPS:
            raise HashfedError(f"retrieval.code_bits = {self.bits}: must be 1, 2, 4 or 8")

    @property
    def width(self) -> int:
        """Bytes of one vector's code: d · bits / 8, rounded up."""
        return -(-self.dimension * self.bits // 8)

    def encode(self, vectors: torch.Tensor) -> tuple[np.ndarray, np.ndarray]:
        """Codes (count, width) uint8 and scales (count,) float32 of ``vectors`` (count, d) float32.

        The scale makes the decoded vector's product with the original equal the original's square, so
        that an inner product is not shrunk by the quantization. A zero vector has scale 0.
        """
        turned = vectors @ rotation(self.dimension, self.seed).to(vectors.device)
        unit = turned / turned.square().mean(1, keepdim=True).sqrt().clamp(min=1e-30)
        half = 1 << (self.bits - 1)
        levels = (unit / STEPS[self.bits]).floor().clamp(-half, half - 1)
        decoded = levels.add(0.5)
        product = (decoded * turned).sum(1)
        square = turned.square().sum(1)
        scales = torch.where(product > 0, square / product.clamp(min=1e-30), 0.0)
        return self._pack((levels + half).to(torch.uint8).cpu().numpy()), scales.cpu().numpy()

    def decode(self, codes: np.ndarray, scales: np.ndarray) -> torch.Tensor:
        """The approximate vectors (count, d) float32."""
        half = 1 << (self.bits - 1)
        levels = torch.from_numpy(self._unpack(codes).astype(np.float32)).sub_(half - 0.5)
        return (levels * torch.from_numpy(scales)[:, None]) @ rotation(self.dimension, self.seed).T

    def _pack(self, levels: np.ndarray) -> np.ndarray:
        """Several levels in a byte, the first in the low bits."""
        each = 8 // self.bits
        padded = np.zeros((len(levels), self.width * each), np.uint8)
        padded[:, : self.dimension] = levels
        parts = padded.reshape(len(levels), self.width, each)
        packed = np.zeros((len(levels), self.width), np.uint8)
        for position in range(each):
            packed |= parts[:, :, position] << np.uint8(position * self.bits)
        return packed

    def _unpack(self, codes: np.ndarray) -> np.ndarray:
        """The levels (count, d) uint8."""
        shifts = np.arange(0, 8, self.bits, dtype=np.uint8)
        mask = np.uint8((1 << self.bits) - 1)
        levels = (codes[:, :, None] >> shifts) & mask
        return levels.reshape(len(codes), self.width * len(shifts))[:, : self.dimension]


@lru_cache(maxsize=4)
def rotation(dimension: int, seed: int) -> torch.Tensor:
    """A random orthogonal matrix (d, d), the same for the same seed."""
    return torch.from_numpy(
        random_orthogonal(stream(seed, "rotation"), dimension, dimension).astype(np.float32)
    )
