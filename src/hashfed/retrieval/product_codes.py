"""Queries as a few bytes, with codebooks that are trained on the rows (Jégou et al. 2011).

Where the embeddings are tied, rows and queries live in one space. A query's direction is cut into M
sub-spaces, each replaced by the nearest of 256 codewords (``product``), or approximated by a sum of M
codewords, each the nearest to what the ones before left over (``residual``; Chen et al. 2010). Its
length is sent as it is. FAISS trains the codebooks on the server; a client needs only the nearest
codewords, in torch. The server scores like ``query_codes`` and sees as much: one noisy query per position.
"""

from dataclasses import dataclass
from typing import Any, ClassVar, Literal, Self

import numpy as np
import torch
from pydantic import Field

from hashfed.errors import HashfedError
from hashfed.retrieval.decoded import DecodableEncoder, DecodedIndex, DecodedSettings, check_codes
from hashfed.retrieval.encoder_shape import EncoderShape
from hashfed.retrieval.faiss_library import (
    TRAINING_ITERATIONS,
    faiss_seed,
    single_threaded_faiss,
    training_vectors,
)
from hashfed.retrieval.protocol import Encoder, Keys

METHOD = "product-codes"
CODEWORDS = 256
"""Per codebook: a code is one byte."""


@dataclass(frozen=True, eq=False)
class ProductCodesEncoder(DecodableEncoder):
    """Turns queries into codes, sorted so that they tell nothing of the order of positions.

    Attributes:
        dimension: d.
        codebooks: (M, 256, d / M) float16 for a product, (M, 256, d) for residuals.

    Raises:
        HashfedError: for codebooks of another type or shape, or numbers that are not finite.

    """

    dimension: int
    codebooks: np.ndarray
    kind: ClassVar[str] = METHOD

    def __post_init__(self) -> None:
        shape = self.codebooks.shape
        good = self.codebooks.dtype == np.float16 and len(shape) == 3 and shape[1] == CODEWORDS
        if not good or self.dimension not in (shape[2], shape[0] * shape[2]) or shape[0] == 0:
            raise HashfedError(
                f"codebooks of type {self.codebooks.dtype} and shape {shape}: must be float16, "
                f"(M, {CODEWORDS}, {self.dimension} / M) or (M, {CODEWORDS}, {self.dimension})"
            )
        if not np.isfinite(self.codebooks).all():
            raise HashfedError("codebooks: must be finite; the training diverged?")

    def numbers(self) -> dict[str, int]:
        """The length of a query."""
        return {"dimension": self.dimension}

    def arrays(self) -> dict[str, np.ndarray]:
        """The codebooks."""
        return {"codebooks": self.codebooks}

    @property
    def width(self) -> int:
        """M, bytes of a code."""
        return len(self.codebooks)

    def encode(self, queries: torch.Tensor) -> Keys:
        """Queries (count, d) to ``codes`` (count, M) uint8 and ``scales`` (count,) float32, lengths."""
        scales = queries.norm(dim=1)
        rest = queries / scales.clamp(min=1e-30)[:, None]
        codes = np.empty((len(queries), self.width), np.uint8)
        for position, codewords in enumerate(self._codewords()):
            columns = self._columns(position)
            products = rest[:, columns] @ codewords.T
            nearest = products.sub_(0.5 * codewords.square().sum(1)).argmax(1)
            rest[:, columns] -= codewords[nearest]
            codes[:, position] = nearest.numpy()
        order = np.argsort(scales.numpy(), kind="stable")
        return {"codes": codes[order], "scales": scales.numpy()[order]}

    def decode(self, keys: Keys, scale: float = 1.0) -> tuple[torch.Tensor, None]:
        """The approximate queries."""
        codes, scales = check_codes(self.width, keys, {"codes", "scales"})
        vectors = torch.zeros(len(codes), self.dimension)
        for position, codewords in enumerate(self._codewords()):
            vectors[:, self._columns(position)] += codewords[torch.from_numpy(codes[:, position]).long()]
        return vectors * torch.from_numpy(scales * np.float32(scale))[:, None], None

    def flops(self, count: int) -> int:
        """The product of each query's part with every codeword."""
        return 2 * count * self.codebooks.size

    def _codewords(self) -> list[torch.Tensor]:
        """Each codebook, (256, d / M) or (256, d), float32."""
        return list(torch.from_numpy(self.codebooks.astype(np.float32)))

    def _columns(self, position: int) -> slice:
        """The coordinates that a codebook speaks for: its own, or all."""
        width = self.codebooks.shape[2]
        return slice(None) if width == self.dimension else slice(position * width, (position + 1) * width)


class ProductCodesSettings(DecodedSettings):
    """The same mass, estimated from queries quantized with codebooks that are trained on the rows."""

    method: Literal["product-codes"] = "product-codes"
    quantizer: Literal["product", "residual"] = "product"
    """Codewords of parts of a query, or codewords that add up to it."""
    subspaces: int = Field(12, ge=1, le=256)
    """Bytes per query: parts, which must divide the length of a row, or codewords added."""

    encoder: ClassVar[type[Encoder]] = ProductCodesEncoder

    @property
    def width_step(self) -> int:
        """The parts."""
        return self.subspaces if self.quantizer == "product" else 1

    def width_problem(self, width: int, setting: str) -> str | None:
        """Where the parts do not divide it."""
        if width % self.width_step == 0:
            return None
        return f"retrieval.subspaces = {self.subspaces}: must divide {setting} = {width}"

    def smallest(self) -> Self:
        """One part."""
        return self.model_copy(update={"subspaces": 1})

    def build(self, rows: torch.Tensor, prior: np.ndarray, seed: int) -> DecodedIndex:
        """Train codebooks on the directions of ``rows`` (n, d).

        Raises:
            HashfedError: where FAISS is missing, or ``subspaces`` does not divide d.

        """
        dimension = rows.shape[1]
        if dimension % self.width_step:
            raise HashfedError(
                f"retrieval.subspaces = {self.subspaces}: must divide the length of the rows, {dimension}"
            )
        data = training_vectors(rows)
        unit = data / np.maximum(np.linalg.norm(data, axis=1, keepdims=True), 1e-30)
        if len(unit) < CODEWORDS:
            # With as many vectors as codewords FAISS takes the vectors themselves.
            unit = np.resize(unit, (CODEWORDS, dimension))
        with single_threaded_faiss(METHOD) as faiss:
            codebooks = _train(faiss, unit, self, faiss_seed(seed, METHOD))
        encoder = ProductCodesEncoder(dimension, codebooks.astype(np.float16))
        return DecodedIndex(rows, encoder, prior, self.prior_strength, self.inverse_temperature, rows)

    def encoder_shape(self, dimension: int, seed: int) -> EncoderShape:
        """The codebooks."""
        codebooks = (np.float16,), (self.subspaces, CODEWORDS, dimension // self.width_step)
        return EncoderShape(self.encoder.kind, {"dimension": dimension}, {"codebooks": codebooks})


def _train(faiss: Any, unit: np.ndarray, settings: ProductCodesSettings, seed: int) -> np.ndarray:
    """Codebooks (M, 256, d / M) or (M, 256, d) float32 for vectors ``unit`` (count, d)."""
    dimension, parts = unit.shape[1], settings.subspaces
    if settings.quantizer == "product":
        quantizer = faiss.ProductQuantizer(dimension, parts, 8)
        shape = (parts, CODEWORDS, dimension // parts)
    else:
        quantizer = faiss.ResidualQuantizer(dimension, parts, 8)
        # One stage after the other, as clients encode: no search over several partial sums.
        quantizer.train_type, quantizer.max_beam_size = faiss.ResidualQuantizer.Train_default, 1
        shape = (parts, CODEWORDS, dimension)
    quantizer.cp.seed, quantizer.cp.niter = seed, TRAINING_ITERATIONS
    quantizer.cp.min_points_per_centroid = 1
    quantizer.train(unit)
    found = quantizer.centroids if settings.quantizer == "product" else quantizer.codebooks
    return np.asarray(faiss.vector_to_array(found)).reshape(shape)
