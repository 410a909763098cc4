"""What every retrieval method says of itself: its settings, and all that others ask of it.

A method is a subclass with its name and the fields that it uses, and one line in ``registry.METHODS``. Fields
that several methods share are in the classes below it, each only where every subclass uses it.
"""

from abc import abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar, Literal, Self

import numpy as np
import torch
from pydantic import Field

from hashfed.errors import HashfedError
from hashfed.retrieval.encoder_shape import EncoderShape
from hashfed.retrieval.protocol import Candidates, Encoder, Index, Keys, NoEncoder
from hashfed.retrieval.range_scale import RangeScale
from hashfed.retrieval.settings import Delivery
from hashfed.settings import Settings

PRECISIONS = {"float32": torch.float32, "bfloat16": torch.bfloat16}
"""By their names in ``PartSettings.precision``."""
TYPICAL_ROWS = 256
"""Of an index whose encoder does not grow with the rows."""

CountHits = Callable[[np.ndarray, np.ndarray], np.ndarray]
"""``hits(buckets, counts)``: for keys (k,) and counts (k,) how often each row was hit, (n,) float64."""


@dataclass(frozen=True)
class BucketShape:
    """Of a hashed index: L ``tables`` of 2^``bits`` buckets, and ``ranges`` of the rows by norm."""

    bits: int
    tables: int
    ranges: int


@dataclass(frozen=True)
class Published:
    """What a client has that looks up by itself, in slices that it fetched (``pre-generated``).

    Attributes:
        encoder: of its queries.
        hits: counts the rows in the buckets of its keys.
        scale: of the norm ranges; None where there is one.
        prior: (n,) public counts; of a method that uses none, zeros.

    """

    encoder: Encoder
    hits: CountHits
    scale: RangeScale | None
    prior: np.ndarray


class RetrievalSettings(Settings):
    """How the server finds rows for a client's keys."""

    method: str
    """Which rows are sent."""

    deliveries: ClassVar[tuple[Delivery, ...]] = ("on-demand", "broadcast")
    """Ways in which its rows may reach a client."""
    encoder: ClassVar[type[Encoder]] = NoEncoder
    """Of the queries; ``NoEncoder`` where it asks for no keys."""
    sends_all: ClassVar[bool] = False
    """Whether every client gets all rows, whatever the budget."""
    tells_queries: ClassVar[bool] = False
    """Whether its keys tell where the client's queries are (``Index.queries``); else planes need a sketch."""
    uses_counts: ClassVar[bool] = False
    """Whether its index is built of public counts of the labels."""

    @abstractmethod
    def build(self, rows: torch.Tensor, prior: np.ndarray, seed: int) -> Index:
        """The index over ``rows`` (n, d) float32; to be called by ``registry.build_index``, which checks.

        Args:
            rows: finite.
            prior: (n,) public counts of how often each row is a label, or how often it was declared.
            seed: the run's, for random numbers.

        """

    def encoder_shape(self, dimension: int, seed: int) -> EncoderShape:
        """What clients know of its encoders beforehand, over rows of length ``dimension``."""
        return EncoderShape(self.encoder.kind)

    def find(self, keys: Keys, published: Published) -> Candidates:
        """What the index would answer, bit for bit, found by a client in slices.

        Raises:
            HashfedError: where keys do not fit, or the method has no slices.

        """
        raise HashfedError(f"pre-generated slices: retrieval.method = {self.method} has none")

    def width_problem(self, width: int, setting: str) -> str | None:
        """Why it cannot take rows of length ``width``, as ``field = value: what is allowed``.

        ``setting``: what decides that length, by its dotted name.
        """
        return None

    def smallest(self) -> Self:
        """The same with the smallest index that there can be, over rows of any length."""
        return self

    @property
    def asks_keys(self) -> bool:
        """Whether clients answer with keys."""
        return self.encoder is not NoEncoder

    @property
    def bucket_shape(self) -> BucketShape | None:
        """Of its index, if it is hashed."""
        return None

    @property
    def typical_rows(self) -> int:
        """Rows with which an index has as large an encoder as with more."""
        return TYPICAL_ROWS

    @property
    def width_step(self) -> int:
        """What the length of a row must be a multiple of."""
        return 1

    @property
    def rebuilt_every(self) -> int:
        """Rounds after which the index is built anew."""
        return 1

    @property
    def counts_declared(self) -> bool:
        """Whether the counts are those that clients declare."""
        return False

    @property
    def pass_type(self) -> torch.dtype:
        """Of the server's passes over all rows."""
        return torch.float32


class PartSettings(RetrievalSettings):
    """Of methods that send a part of the rows."""

    precision: Literal["float32", "bfloat16"] = "float32"
    """Arithmetic of the server's passes over all rows. bfloat16: what clients do to the tail, and with
    query-centroids and query-codes scores and the planes made of them; some twice as fast on processors with
    instructions for it, slow on others, and a copy of the rows in each process."""

    @property
    def pass_type(self) -> torch.dtype:
        """As ``precision`` says."""
        return PRECISIONS[self.precision]


class IndexedSettings(PartSettings):
    """Of methods with an index that can be of earlier rounds."""

    refresh: int = Field(1, ge=1)
    """Rebuild the index after so many rounds; in between it ranks by rows that have moved on."""

    @property
    def rebuilt_every(self) -> int:
        """``refresh``."""
        return self.refresh


class CountedSettings(IndexedSettings):
    """Of methods that use counts of the labels."""

    counts: Literal["public", "declared"] = "public"
    """The prior: public counts of the labels, or how often clients declared a row in earlier rounds."""

    uses_counts: ClassVar[bool] = True

    @property
    def counts_declared(self) -> bool:
        """As ``counts`` says."""
        return self.counts == "declared"


class SmoothedSettings(CountedSettings):
    """Of methods that add these counts to what a client's keys say (``evidence.with_prior``)."""

    prior_strength: float = Field(16.0, ge=0)
    """How many queries' worth of evidence the public label counts are."""
