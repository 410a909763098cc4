"""Queries as a few bytes, with codebooks that are trained on the rows (Jégou et al. 2011).

Where the embeddings are tied, rows and queries live in one space. A query's direction becomes M codewords
(``codebooks``), its length is sent as it is. FAISS trains the codebooks on the server; a client needs only
the nearest codewords, in torch. The server scores like ``query_codes`` and sees as much: one noisy query per
position.
"""

from dataclasses import dataclass
from typing import ClassVar, Literal, Self

import numpy as np
import torch
from pydantic import Field

from hashfed.errors import HashfedError
from hashfed.retrieval.codebooks import Codebooks, Quantizer, train_codebooks
from hashfed.retrieval.decoded import DecodableEncoder, DecodedIndex, DecodedSettings, check_codes
from hashfed.retrieval.encoder_shape import EncoderShape
from hashfed.retrieval.faiss_library import training_vectors
from hashfed.retrieval.protocol import Encoder, Keys

METHOD = "product-codes"
CODE_BITS = 8
"""A code is one byte."""
CODEWORDS = 1 << CODE_BITS
"""Per codebook."""


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
        self._books.check(CODEWORDS)

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
        codes = self._books.nearest(rest).astype(np.uint8)
        order = np.argsort(scales.numpy(), kind="stable")
        return {"codes": codes[order], "scales": scales.numpy()[order]}

    def decode(self, keys: Keys, scale: float = 1.0) -> tuple[torch.Tensor, None]:
        """The approximate queries."""
        codes, scales = check_codes(self.width, keys, {"codes", "scales"})
        return self._books.sum(codes) * torch.from_numpy(scales * np.float32(scale))[:, None], None

    def flops(self, count: int) -> int:
        """The product of each query's part with every codeword."""
        return 2 * count * self.codebooks.size

    @property
    def _books(self) -> Codebooks:
        return Codebooks(self.dimension, self.codebooks)


class ProductCodesSettings(DecodedSettings):
    """The same mass, estimated from queries quantized with codebooks that are trained on the rows."""

    method: Literal["product-codes"] = "product-codes"
    quantizer: Quantizer = "product"
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
        books = train_codebooks(unit, self.subspaces, CODE_BITS, self.quantizer, METHOD, seed)
        encoder = ProductCodesEncoder(dimension, books.words)
        return DecodedIndex(rows, encoder, prior, self.prior_strength, self.inverse_temperature, rows)

    def encoder_shape(self, dimension: int, seed: int) -> EncoderShape:
        """The codebooks."""
        codebooks = (np.float16,), (self.subspaces, CODEWORDS, dimension // self.width_step)
        return EncoderShape(self.encoder.kind, {"dimension": dimension}, {"codebooks": codebooks})
