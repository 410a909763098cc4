"""What every retrieval method has: an index on the server, its encoder on the clients.

    index = build(rows)                        # the server, every round
    keys = index.encoder.encode(queries)       # a client, on its own data
    candidates = index.lookup(keys)            # the server

The encoder travels to clients and the keys come back, so both are made of plain arrays and numbers.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Protocol, runtime_checkable

import numpy as np
import torch

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


class Encoder(Protocol):
    """The part of an index that a client receives: turns queries into keys."""

    kind: ClassVar[str]
    """The name under which a client finds the class again."""

    def encode(self, queries: torch.Tensor) -> Keys:
        """Keys for queries (count, d), float32."""
        ...

    def numbers(self) -> dict[str, int]:
        """The parameters to send to a client that are integers."""
        ...

    def arrays(self) -> dict[str, np.ndarray]:
        """The parameters to send to a client that are arrays, such as centroids."""
        ...

    def flops(self, count: int) -> int:
        """Floating-point operations to encode ``count`` queries."""
        ...

    def most_keys(self, count: int) -> int:
        """How long an array of the keys of ``count`` queries can be; a server reads no longer ones."""
        ...


@dataclass(frozen=True)
class NoEncoder:
    """For methods that ask a client nothing beyond its own rows."""

    kind: ClassVar[str] = "none"

    def encode(self, queries: torch.Tensor) -> Keys:
        """No keys."""
        return {}

    def numbers(self) -> dict[str, int]:
        """No parameters."""
        return {}

    def arrays(self) -> dict[str, np.ndarray]:
        """No parameters."""
        return {}

    def flops(self, count: int) -> int:
        """None."""
        return 0

    def most_keys(self, count: int) -> int:
        """None."""
        return 0


class Index(Protocol):
    """The server's side of a retrieval method, valid for one state of the rows."""

    @property
    def encoder(self) -> Encoder:
        """What clients receive."""
        ...

    def lookup(self, keys: Keys) -> Candidates:
        """Candidates for one client's keys.

        Raises:
            HashfedError: where the keys do not fit this index.

        """
        ...


@runtime_checkable
class TellsQueries(Index, Protocol):
    """An index whose keys say where the client's queries are."""

    def queries(self, keys: Keys) -> tuple[torch.Tensor, np.ndarray | None]:
        """Vectors (c, d) float32 that stand for them, and of how many queries each is the mean; None: of one.

        Raises:
            HashfedError: where the keys do not fit this index.

        """
        ...


@runtime_checkable
class Refreshable(Index, Protocol):
    """An index that can follow a change of some rows."""

    @property
    def exact_refresh(self) -> bool:
        """Whether ``refresh`` answers bit for bit as an index built anew: nothing was fitted to the rows."""
        ...

    def refresh(self, rows: torch.Tensor, ids: np.ndarray, prior: np.ndarray | None = None) -> Index:
        """The index after only the rows ``ids`` changed; what was fitted stays. This one stays as it is.

        Args:
            rows: all rows (n, d) float32; those not in ``ids`` must be unchanged.
            ids: (k,) integers, ascending, distinct.
            prior: (n,) public counts, where those changed too.

        Raises:
            HashfedError: where ``rows``, ``ids`` or ``prior`` do not fit.

        """
        ...
