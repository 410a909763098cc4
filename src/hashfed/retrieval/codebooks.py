"""Vectors as a few codewords, of codebooks that FAISS trains (Jégou et al. 2011; Chen et al. 2010).

A vector is cut into M sub-spaces, each replaced by the nearest codeword (``product``), or approximated by a
sum of M codewords, each the nearest to what the ones before left over (``residual``).
"""

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch

from hashfed.errors import HashfedError
from hashfed.retrieval.faiss_library import TRAINING_ITERATIONS, faiss_seed, single_threaded_faiss

Quantizer = Literal["product", "residual"]
"""Codewords of parts of a vector, or codewords that add up to it."""


@dataclass(frozen=True, eq=False)
class Codebooks:
    """M codebooks of C codewords for vectors of length d.

    Attributes:
        dimension: d.
        words: (M, C, d / M) float16 for a product, (M, C, d) for residuals.

    """

    dimension: int
    words: np.ndarray

    def check(self, codewords: int) -> None:
        """That there are ``codewords`` in each, for vectors of that length.

        Raises:
            HashfedError: for another type or shape, or numbers that are not finite.

        """
        shape = self.words.shape
        good = self.words.dtype == np.float16 and len(shape) == 3 and shape[1] == codewords
        if not good or self.dimension not in (shape[2], shape[0] * shape[2]) or shape[0] == 0:
            raise HashfedError(
                f"codebooks of type {self.words.dtype} and shape {shape}: must be float16, "
                f"(M, {codewords}, {self.dimension} / M) or (M, {codewords}, {self.dimension})"
            )
        if not np.isfinite(self.words).all():
            raise HashfedError("codebooks: must be finite; the training diverged?")

    @property
    def parts(self) -> list[tuple[slice, torch.Tensor]]:
        """Of each codebook the coordinates that it speaks for, and its codewords, float32."""
        width = self.words.shape[2]
        return [
            (slice(None) if width == self.dimension else slice(start * width, (start + 1) * width), words)
            for start, words in enumerate(torch.from_numpy(self.words.astype(np.float32)))
        ]

    def nearest(self, vectors: torch.Tensor) -> np.ndarray:
        """Each vector's codewords, (count, M) int64; ``vectors`` (count, d) float32 is overwritten."""
        codes = np.empty((len(vectors), len(self.words)), np.int64)
        for position, (columns, words) in enumerate(self.parts):
            products = vectors[:, columns] @ words.T
            nearest = products.sub_(0.5 * words.square().sum(1)).argmax(1)
            vectors[:, columns] -= words[nearest]
            codes[:, position] = nearest.numpy()
        return codes

    def sum(self, codes: np.ndarray) -> torch.Tensor:
        """The vectors (count, d) float32 that ``codes`` (count, M) stand for."""
        vectors = torch.zeros(len(codes), self.dimension)
        for position, (columns, words) in enumerate(self.parts):
            vectors[:, columns] += words[torch.from_numpy(codes[:, position]).long()]
        return vectors


def train_codebooks(
    data: np.ndarray, parts: int, bits: int, quantizer: Quantizer, method: str, seed: int
) -> Codebooks:
    """``parts`` codebooks of 2^``bits`` codewords for vectors ``data`` (count, d) float32.

    Args:
        data: finite, at least one.
        parts: M; must divide d for a product.
        bits: of a code.
        quantizer: which of the two.
        method: of the settings, for the message and the random numbers.
        seed: the run's.

    Raises:
        HashfedError: where FAISS is missing.

    """
    dimension, codewords = data.shape[1], 1 << bits
    if len(data) < codewords:
        # With as many vectors as codewords FAISS takes the vectors themselves.
        data = np.resize(data, (codewords, dimension))
    with single_threaded_faiss(method) as faiss:
        trainer = _trainer(faiss, dimension, parts, bits, quantizer)
        trainer.cp.seed, trainer.cp.niter = faiss_seed(seed, method), TRAINING_ITERATIONS
        trainer.cp.min_points_per_centroid = 1
        trainer.train(data)
        found = trainer.centroids if quantizer == "product" else trainer.codebooks
        words = np.asarray(faiss.vector_to_array(found)).reshape(parts, codewords, -1)
    with np.errstate(over="ignore"):  # infinite ones are refused by ``check``
        return Codebooks(dimension, words.astype(np.float16))


def _trainer(faiss: Any, dimension: int, parts: int, bits: int, quantizer: Quantizer) -> Any:
    if quantizer == "product":
        return faiss.ProductQuantizer(dimension, parts, bits)
    trainer = faiss.ResidualQuantizer(dimension, parts, bits)
    # One stage after the other, as clients encode: no search over several partial sums.
    trainer.train_type, trainer.max_beam_size = faiss.ResidualQuantizer.Train_default, 1
    return trainer
