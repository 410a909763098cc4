"""Quantized queries: a few bits per coordinate, scored by softmax on the server.

A client sends each query as a code (``hashing.codes``); the server decodes and adds up the softmax mass
of every row. Nothing is trained, the encoder is a seed, and 4 bits come within 1% of exact search. The
server sees one noisy query per position, though: ``query_centroids`` sends less and tells less.
"""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch

from hashfed.errors import HashfedError
from hashfed.hashing.codes import RotatedCodes
from hashfed.retrieval.evidence import mass_candidates, pass_table
from hashfed.retrieval.protocol import Candidates, Keys
from hashfed.retrieval.settings import RetrievalSettings


@dataclass(frozen=True)
class QueryCodesEncoder:
    """Turns queries into codes, sorted so that they tell nothing of the order of positions."""

    codes: RotatedCodes
    kind: ClassVar[str] = "query-codes"

    @classmethod
    def from_numbers(cls, dimension: int, bits: int, seed: int) -> "QueryCodesEncoder":
        """The encoder a client builds from what it received."""
        return cls(RotatedCodes(dimension, bits, seed))

    def numbers(self) -> dict[str, int]:
        """d, bits and the seed of the rotation."""
        return {"dimension": self.codes.dimension, "bits": self.codes.bits, "seed": self.codes.seed}

    def arrays(self) -> dict[str, np.ndarray]:
        """None: the rotation is drawn from the seed."""
        return {}

    def encode(self, queries: torch.Tensor) -> Keys:
        """Queries (count, d) to ``codes`` (count, width) uint8 and ``scales`` (count,) float32."""
        codes, scales = self.codes.encode(queries)
        order = np.argsort(scales, kind="stable")
        return {"codes": codes[order], "scales": scales[order]}

    def flops(self, count: int) -> int:
        """The rotation of each query."""
        return 2 * count * self.codes.dimension**2

    def most_keys(self, count: int) -> int:
        """One for each query."""
        return count


@dataclass(frozen=True)
class QueryCodesIndex:
    """Scores = softmax mass of the decoded queries, plus the prior."""

    rows: torch.Tensor
    encoder: QueryCodesEncoder
    prior: np.ndarray
    strength: float
    temperature: float
    table: torch.Tensor

    @classmethod
    def build(
        cls, rows: torch.Tensor, settings: RetrievalSettings, prior: np.ndarray, seed: int
    ) -> "QueryCodesIndex":
        """Keeps ``rows`` (n, d) by reference: there is nothing to hash."""
        encoder = QueryCodesEncoder(RotatedCodes(rows.shape[1], settings.code_bits, seed))
        table = pass_table(rows, settings)
        return cls(rows, encoder, prior, settings.prior_strength, settings.inverse_temperature, table)

    def lookup(self, keys: Keys) -> Candidates:
        """Every row, with its estimated mass."""
        codes, scales = check_codes(self.encoder.codes.width, keys, {"codes", "scales"})
        queries = self.encoder.codes.decode(codes, scales * np.float32(self.temperature))
        return mass_candidates(self.rows, queries, self.prior, self.strength, table=self.table)

    def queries(self, keys: Keys) -> tuple[torch.Tensor, None]:
        """The decoded queries."""
        return self.encoder.codes.decode(
            *check_codes(self.encoder.codes.width, keys, {"codes", "scales"})
        ), None


def check_codes(width: int, keys: Keys, names: set[str]) -> tuple[np.ndarray, np.ndarray]:
    """The codes (count, width) uint8 and scales (count,) float32 of ``keys``, which must hold ``names``.

    Raises:
        HashfedError: that says what is wrong with them.

    """
    if set(keys) != names:
        raise HashfedError(f"keys {sorted(keys)}: this index needs {', '.join(sorted(names))}")
    found, scales = keys["codes"], keys["scales"]
    if found.dtype != np.uint8 or found.ndim != 2 or found.shape[1] != width:
        raise HashfedError(
            f"codes of type {found.dtype} and shape {found.shape}: must be uint8, (count, {width})"
        )
    if scales.dtype != np.float32 or scales.shape != (len(found),):
        raise HashfedError(
            f"scales of type {scales.dtype} and shape {scales.shape}: must be float32, ({len(found)},)"
        )
    if not np.isfinite(scales).all() or (scales < 0).any():
        raise HashfedError("scales: must be finite and not negative; the training diverged?")
    return found, scales
