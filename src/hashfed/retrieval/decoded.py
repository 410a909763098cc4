"""Keys that the server decodes to vectors: shared by ``query_codes``, ``query_centroids``, ``product_codes``.

Every row is scored by its softmax mass on the decoded vectors.
"""

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

import numpy as np
import torch
from pydantic import Field

from hashfed.errors import HashfedError
from hashfed.hashing.codes import RotatedCodes
from hashfed.retrieval.evidence import mass_candidates, with_prior
from hashfed.retrieval.method import SmoothedSettings
from hashfed.retrieval.protocol import Candidates, Encoder, Index, Keys


class DecodedSettings(SmoothedSettings):
    """Of these methods."""

    inverse_temperature: float = Field(1.0, gt=0, le=10)
    """Factor on the logits of decoded queries; below 1 where the quantization is coarse."""

    tells_queries: ClassVar[bool] = True


class DecodableEncoder(Encoder):
    """An encoder whose keys can be turned back."""

    @abstractmethod
    def decode(self, keys: Keys, scale: float = 1.0) -> tuple[torch.Tensor, np.ndarray | None]:
        """Vectors (c, d) float32, times ``scale``, and of how many queries each is the mean; None: of one.

        Raises:
            HashfedError: where the keys are none of this encoder.

        """

    def decode_many(
        self, clients: Sequence[Keys], scale: float = 1.0
    ) -> Sequence[tuple[torch.Tensor, np.ndarray | None]]:
        """``decode`` of the keys of several clients."""
        return [self.decode(keys, scale) for keys in clients]


@dataclass(frozen=True)
class DecodedIndex(Index):
    """Scores = softmax mass of the decoded vectors, weighted by their counts, plus the prior.

    Attributes:
        rows: (n, d) float32, kept by reference.
        encoder: what clients receive.
        prior: (n,) public counts.
        strength: of the prior.
        temperature: inverse, a factor on the logits.
        table: the rows in the precision in which all of them are multiplied. Scores become chances, and a
            draw with any chances is corrected for them; and whatever the planes are, the correction by them
            has mean zero. So less precision costs a little variance.

    """

    rows: torch.Tensor
    encoder: DecodableEncoder
    prior: np.ndarray
    strength: float
    temperature: float
    table: torch.Tensor

    def lookup(self, keys: Keys) -> Candidates:
        """Every row, with its estimated mass."""
        queries, counts = self.encoder.decode(keys, self.temperature)
        return mass_candidates(self.rows, queries, self.prior, self.strength, counts, self.table)

    @cached_property
    def prior_mass(self) -> torch.Tensor:
        """What the prior adds to every client's mass, (n,) float64, where the rows are."""
        zero = np.zeros(len(self.rows))
        return torch.from_numpy(with_prior(zero, self.prior, self.strength)).to(self.rows.device)

    def queries(self, keys: Keys) -> tuple[torch.Tensor, np.ndarray | None]:
        """The decoded vectors."""
        return self.encoder.decode(keys)

    def scored(self, keys: Keys) -> int:
        """The decoded vectors."""
        return len(self.queries(keys)[0])


def decode_together(
    codes: RotatedCodes, found: Sequence[tuple[np.ndarray, np.ndarray]], scale: float
) -> tuple[torch.Tensor, ...]:
    """The vectors, times ``scale``, of the codes and scales of several clients."""
    scales = np.concatenate([of for _, of in found]) * np.float32(scale)
    every = codes.decode(np.concatenate([of for of, _ in found]), scales)
    vectors: tuple[torch.Tensor, ...] = every.split([len(of) for of, _ in found])
    return vectors


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
