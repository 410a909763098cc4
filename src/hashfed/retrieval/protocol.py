"""What every retrieval method has: an index on the server, its encoder on the clients.

    index = build(rows)                        # the server, every round
    keys = index.encoder.encode(queries)       # a client, on its own data
    candidates = index.lookup(keys)            # the server

The encoder travels to clients and the keys come back, so both are made of plain arrays and numbers.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Self

import numpy as np
import torch

from hashfed.hashing.tables import HashTables
from hashfed.retrieval.range_scale import RangeScale

Keys = Mapping[str, np.ndarray]
"""What a client sends instead of its data: named arrays. Empty where the method needs none."""


@dataclass(frozen=True)
class Powers:
    """exp(rows · points), as an index that scores every row has computed it on its way.

    Attributes:
        rows: (n, d) float32, of the index.
        table: the same in the precision of the pass.
        points: (K, d) float32.
        values: (n, K), in that precision.

    """

    rows: torch.Tensor
    table: torch.Tensor
    points: torch.Tensor
    values: torch.Tensor


@dataclass(frozen=True)
class Candidates:
    """An index's answer: row ids with a score (higher = send first).

    Attributes:
        ids: (k,) int64, distinct.
        scores: (k,) float64. Equal scores are cut at random.
        powers: of all rows, where the index has them; whoever asked may overwrite them.

    """

    ids: np.ndarray
    scores: np.ndarray
    powers: Powers | None = None

    @classmethod
    def none(cls) -> "Candidates":
        """No preference: the budget is filled at random."""
        return cls(np.empty(0, np.int64), np.empty(0, np.float64))

    @classmethod
    def positive(cls, scores: np.ndarray) -> "Candidates":
        """The rows with a score above zero, given one score for each of the n rows."""
        if scores.min(initial=np.inf) > 0:
            return cls(np.arange(len(scores)), np.asarray(scores, np.float64))
        ids = np.flatnonzero(scores > 0)
        return cls(ids, np.asarray(scores[ids], np.float64))


class Encoder(ABC):
    """The part of an index that a client receives: turns queries into keys."""

    kind: ClassVar[str]
    """The name under which a client finds the class again."""

    @classmethod
    def from_numbers(cls, *_: Any, **numbers: Any) -> Self:
        """The encoder that a client builds from the ``numbers`` and ``arrays`` that it received."""
        return cls(**numbers)

    @abstractmethod
    def encode(self, queries: torch.Tensor) -> Keys:
        """Keys for queries (count, d), float32."""

    def encode_many(self, clients: Sequence[torch.Tensor]) -> list[Keys]:
        """Keys of several clients, each with its queries (count, d), on whatever device; here on the CPU."""
        return [self.encode(queries.cpu()) for queries in clients]

    def numbers(self) -> dict[str, int]:
        """The parameters to send to a client that are integers."""
        return {}

    def arrays(self) -> dict[str, np.ndarray]:
        """The parameters to send to a client that are arrays, such as centroids."""
        return {}

    def flops(self, count: int) -> int:
        """Floating-point operations to encode ``count`` queries."""
        return 0

    def most_keys(self, count: int) -> int:
        """How long an array of the keys of ``count`` queries can be; a server reads no longer ones."""
        return count


@dataclass(frozen=True)
class NoEncoder(Encoder):
    """For methods that ask a client nothing beyond its own rows."""

    kind: ClassVar[str] = "none"

    def encode(self, queries: torch.Tensor) -> Keys:
        """No keys."""
        return {}

    def most_keys(self, count: int) -> int:
        """None."""
        return 0


@dataclass(frozen=True)
class Buckets:
    """Rows by hash bucket, for slices.

    Attributes:
        tables: who is in which bucket.
        scale: of the norm ranges; None where there is one.

    """

    tables: HashTables
    scale: RangeScale | None


class Index(ABC):
    """The server's side of a retrieval method, valid for one state of the rows.

    Attributes:
        encoder: what clients receive.

    """

    encoder: Encoder

    @abstractmethod
    def lookup(self, keys: Keys) -> Candidates:
        """Candidates for one client's keys.

        Raises:
            HashfedError: where the keys do not fit this index.

        """

    def queries(self, keys: Keys) -> tuple[torch.Tensor, np.ndarray | None]:
        """Vectors (c, d) float32 that stand for the client's queries, where the keys tell of them.

        Returns:
            The vectors, and of how many queries each is the mean; None: of one.

        Raises:
            HashfedError: where the keys do not fit this index.

        """
        raise NotImplementedError("the method says that its keys tell nothing of queries (tells_queries)")

    def scored(self, keys: Keys) -> int | None:
        """Vectors against which a lookup scores all rows; None where its work depends on what it holds."""
        return None

    @property
    def buckets(self) -> Buckets | None:
        """The rows by hash bucket, where it has any."""
        return None

    @property
    def exact_refresh(self) -> bool:
        """Whether ``refresh`` answers bit for bit as an index built anew: nothing was fitted to the rows."""
        return False

    def refresh(self, rows: torch.Tensor, ids: np.ndarray, prior: np.ndarray | None = None) -> "Index":
        """The index after only the rows ``ids`` changed; what was fitted stays. This one stays as it is.

        Args:
            rows: all rows (n, d) float32; those not in ``ids`` must be unchanged.
            ids: (k,) integers, ascending, distinct.
            prior: (n,) public counts, where those changed too.

        Raises:
            HashfedError: where ``rows``, ``ids`` or ``prior`` do not fit.

        """
        raise NotImplementedError("an index of this method is built anew (exact_refresh)")
