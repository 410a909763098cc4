"""MIDX's proposals: the softmax over quantized rows, by cell of an inverted multi-index.

Chen et al. 2025, "Adaptive Sampled Softmax with Inverted Multi-Index" (arXiv 2501.08563). Every row w is
replaced by the sum of two codewords a_j + b_k, one of each of two codebooks, and so lies in one of C² cells
(Babenko and Lempitsky 2012). A query's softmax over the replaced rows needs no row:

    p(j, k | q) ∝ size(j, k) · exp(q·a_j) · exp(q·b_k)

and all rows of a cell are equally likely. MIDX draws a batch's rows with these chances; here a client adds
them up over its queries and sends the share of each cell, so that the server draws by the chances of all of
them. A client computes with C codewords twice and C² cells, whatever n is.
"""

from dataclasses import dataclass
from typing import ClassVar, Literal, Self

import numpy as np
import torch
from pydantic import Field

from hashfed.errors import ClientDivergedError, HashfedError
from hashfed.retrieval.codebooks import Codebooks, Quantizer, train_codebooks
from hashfed.retrieval.encoder_shape import EncoderShape
from hashfed.retrieval.faiss_library import training_vectors
from hashfed.retrieval.method import IndexedSettings
from hashfed.retrieval.protocol import Candidates, Encoder, Index, Keys

METHOD = "multi-index"
CODEBOOKS = 2
CHUNK = 256
"""Queries at a time."""


@dataclass(frozen=True, eq=False)
class MultiIndexEncoder(Encoder):
    """Adds up the softmax over cells.

    Attributes:
        dimension: d.
        codebooks: (2, C, d / 2) float16 for a product, (2, C, d) for residuals.
        sizes: (C, C) float32, how many rows each cell has.

    Raises:
        HashfedError: for arrays of other types or shapes, or numbers that are not finite.

    """

    dimension: int
    codebooks: np.ndarray
    sizes: np.ndarray
    kind: ClassVar[str] = METHOD

    def __post_init__(self) -> None:
        codewords = self.sizes.shape[0] if self.sizes.ndim == CODEBOOKS else 0
        if self.sizes.dtype != np.float32 or codewords == 0 or self.sizes.shape != (codewords, codewords):
            raise HashfedError(
                f"sizes of type {self.sizes.dtype} and shape {self.sizes.shape}: must be float32, (C, C)"
            )
        self._books.check(codewords)
        if len(self.codebooks) != CODEBOOKS:
            raise HashfedError(f"codebooks of shape {self.codebooks.shape}: must be {CODEBOOKS}")
        if not np.isfinite(self.sizes).all() or (self.sizes < 0).any():
            raise HashfedError("sizes: must be finite and not negative")

    def numbers(self) -> dict[str, int]:
        """The length of a query."""
        return {"dimension": self.dimension}

    def arrays(self) -> dict[str, np.ndarray]:
        """Codebooks and sizes."""
        return {"codebooks": self.codebooks, "sizes": self.sizes}

    def encode(self, queries: torch.Tensor) -> Keys:
        """The share of the queries' softmax in each cell.

        Args:
            queries: (count, d) float32.

        Returns:
            ``shares`` (C · C,) float16, which add up to 1, or are all 0 where there is no query.

        Raises:
            HashfedError: where the softmax is not finite.

        """
        (first, inner), (second, outer) = self._books.parts
        sizes = torch.from_numpy(self.sizes.astype(np.float64))
        shares = torch.zeros_like(sizes)
        for some in queries.split(CHUNK):
            # Each softmax apart, so that nothing overflows; their product is divided by its own sum.
            left = torch.softmax((some[:, first] @ inner.T).double(), 1)
            right = torch.softmax((some[:, second] @ outer.T).double(), 1)
            sums = ((left @ sizes) * right).sum(1, keepdim=True)
            shares += (left / sums).T @ right
        shares *= sizes / max(1, len(queries))
        if not bool(torch.isfinite(shares).all()):
            raise ClientDivergedError(
                "the softmax of a client's queries is not finite: the training diverged"
            )
        return {"shares": shares.numpy().astype(np.float16).reshape(-1)}

    def flops(self, count: int) -> int:
        """Both products with the codewords, and the two over the cells."""
        cells = self.sizes.size
        return int(2 * count * (self.codebooks.size + 2 * cells))

    def most_keys(self, count: int) -> int:
        """One for each cell."""
        return int(self.sizes.size)

    def check(self, keys: Keys) -> np.ndarray:
        """The shares (C · C,) of ``keys``, float64, or a HashfedError that says what is wrong with them."""
        if set(keys) != {"shares"}:
            raise HashfedError(f"keys {sorted(keys)}: this index needs shares")
        shares = keys["shares"]
        if shares.dtype != np.float16 or shares.shape != (self.sizes.size,):
            raise HashfedError(
                f"shares of type {shares.dtype} and shape {shares.shape}: must be float16, "
                f"({self.sizes.size},)"
            )
        if not np.isfinite(shares).all() or (shares < 0).any():
            raise HashfedError("shares: must be finite and not negative")
        return shares.astype(np.float64)

    @property
    def _books(self) -> Codebooks:
        return Codebooks(self.dimension, self.codebooks)


@dataclass(frozen=True)
class MultiIndex(Index):
    """Scores = the share of a row's cell, divided among its rows.

    Attributes:
        encoder: what clients receive.
        cell: (n,) int64, each row's cell.

    """

    encoder: MultiIndexEncoder
    cell: np.ndarray

    def lookup(self, keys: Keys) -> Candidates:
        """The rows of the cells with a share."""
        shares = self.encoder.check(keys) / np.maximum(1, self.encoder.sizes.reshape(-1))
        return Candidates.positive(shares[self.cell])


class MultiIndexSettings(IndexedSettings):
    """The softmax mass over rows that are replaced by the sum of two codewords (MIDX)."""

    method: Literal["multi-index"] = "multi-index"
    quantizer: Quantizer = "residual"
    """Codewords of both halves of a row, or codewords that add up to it."""
    codeword_bits: int = Field(6, ge=1, le=8)
    """Each of the two codebooks has 2 to the power of so many codewords; there are as many cells squared."""

    encoder: ClassVar[type[Encoder]] = MultiIndexEncoder

    @property
    def typical_rows(self) -> int:
        """As many as codewords: FAISS trains no more codewords from fewer."""
        return 1 << self.codeword_bits

    @property
    def width_step(self) -> int:
        """Two halves."""
        return CODEBOOKS if self.quantizer == "product" else 1

    def width_problem(self, width: int, setting: str) -> str | None:
        """Where there are no halves."""
        if width % self.width_step == 0:
            return None
        return f"retrieval.quantizer = product: {setting} = {width} must be even"

    def smallest(self) -> Self:
        """Without halves."""
        return self.model_copy(update={"quantizer": "residual"})

    def build(self, rows: torch.Tensor, prior: np.ndarray, seed: int) -> MultiIndex:
        """Train both codebooks on ``rows`` (n, d), and put each row in its cell.

        Raises:
            HashfedError: where FAISS is missing, d is odd for a product, or the rows are too large for
                float16.

        """
        dimension = rows.shape[1]
        problem = self.width_problem(dimension, "the length of the rows")
        if problem is not None:
            raise HashfedError(problem)
        books = train_codebooks(
            training_vectors(rows), CODEBOOKS, self.codeword_bits, self.quantizer, METHOD, seed
        )
        codewords = 1 << self.codeword_bits
        codes = books.nearest(rows.clone())
        cell = codes[:, 0] * codewords + codes[:, 1]
        sizes = np.bincount(cell, minlength=codewords**2).astype(np.float32)
        encoder = MultiIndexEncoder(dimension, books.words, sizes.reshape(codewords, codewords))
        return MultiIndex(encoder, cell)

    def encoder_shape(self, dimension: int, seed: int) -> EncoderShape:
        """Codebooks and sizes."""
        codewords = 1 << self.codeword_bits
        arrays = {
            "codebooks": ((np.float16,), (CODEBOOKS, codewords, dimension // self.width_step)),
            "sizes": ((np.float32,), (codewords, codewords)),
        }
        return EncoderShape(self.encoder.kind, {"dimension": dimension}, arrays)
