"""Quantized queries: a few bits per coordinate, scored by softmax on the server.

A client sends each query as a code (``hashing.codes``); the server decodes and adds up the softmax mass
of every row. Nothing is trained, the encoder is a seed, and 4 bits come within 1% of exact search. The
server sees one noisy query per position, though: ``query_centroids`` sends less and tells less.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal, Self

import numpy as np
import torch

from hashfed.hashing.codes import RotatedCodes
from hashfed.retrieval.decoded import (
    DecodableEncoder,
    DecodedIndex,
    DecodedSettings,
    check_codes,
    decode_together,
)
from hashfed.retrieval.encoder_shape import EncoderShape
from hashfed.retrieval.protocol import Encoder, Keys
from hashfed.retrieval.settings import CodeBits


@dataclass(frozen=True)
class QueryCodesEncoder(DecodableEncoder):
    """Turns queries into codes, sorted so that they tell nothing of the order of positions."""

    codes: RotatedCodes
    kind: ClassVar[str] = "query-codes"

    @classmethod
    def from_numbers(cls, dimension: int, bits: int, seed: int) -> Self:
        """The encoder a client builds from what it received."""
        return cls(RotatedCodes(dimension, bits, seed))

    def numbers(self) -> dict[str, int]:
        """d, bits and the seed of the rotation, from which it is drawn."""
        return {"dimension": self.codes.dimension, "bits": self.codes.bits, "seed": self.codes.seed}

    def encode(self, queries: torch.Tensor) -> Keys:
        """Queries (count, d) to ``codes`` (count, width) uint8 and ``scales`` (count,) float32."""
        codes, scales = self.codes.encode(queries)
        order = np.argsort(scales, kind="stable")
        return {"codes": codes[order], "scales": scales[order]}

    def decode(self, keys: Keys, scale: float = 1.0) -> tuple[torch.Tensor, None]:
        """The approximate queries."""
        codes, scales = check_codes(self.codes.width, keys, {"codes", "scales"})
        return self.codes.decode(codes, scales * np.float32(scale)), None

    def decode_many(self, clients: Sequence[Keys], scale: float = 1.0) -> list[tuple[torch.Tensor, None]]:
        """See ``DecodableEncoder``: all codes at once."""
        found = [check_codes(self.codes.width, keys, {"codes", "scales"}) for keys in clients]
        return [(vectors, None) for vectors in decode_together(self.codes, found, scale)]

    def flops(self, count: int) -> int:
        """The rotation of each query."""
        return 2 * count * self.codes.dimension**2


class QueryCodesSettings(DecodedSettings):
    """The same mass, estimated from quantized queries."""

    method: Literal["query-codes"] = "query-codes"
    code_bits: CodeBits = 8
    """Bits per coordinate of a quantized query."""

    encoder: ClassVar[type[Encoder]] = QueryCodesEncoder

    def build(self, rows: torch.Tensor, prior: np.ndarray, seed: int) -> DecodedIndex:
        """There is nothing to hash."""
        encoder = QueryCodesEncoder(RotatedCodes(rows.shape[1], self.code_bits, seed))
        table = rows.to(self.pass_type)
        return DecodedIndex(rows, encoder, prior, self.prior_strength, self.inverse_temperature, table)

    def encoder_shape(self, dimension: int, seed: int) -> EncoderShape:
        """A few numbers."""
        numbers = {"dimension": dimension, "bits": self.code_bits, "seed": seed}
        return EncoderShape(self.encoder.kind, numbers)
