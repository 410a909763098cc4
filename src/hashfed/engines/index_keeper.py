"""The index of a round: the last one brought up to date where that gives the same bits, else built anew.

A worker sees the shared rows but not who moved them. So the server notes for each row the last round at
whose end it moved, in shared memory as well: 8 bytes a row, where a copy of the rows to compare with would
be 4·d and a pass over all of them.
"""

from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
import torch

from hashfed.config import Config
from hashfed.models import Parameters
from hashfed.retrieval import Index, RetrievalSettings, build_index

MOST_MOVED = 0.5
"""Above this share of moved rows the index is built anew: gathering them costs more than it spares (at 80%
both took the same, measured at 80 thousand and 1 million rows of 96 with K = 8, L = 8 and 64)."""


class Indexed(Protocol):
    """What an index is built of: the server's state, or a worker's view of it.

    Attributes:
        parameters: of the model.
        indexed: (n, d) rows of an earlier round, where the index is of these.
        prior: (n,) counts where not the public ones.
        changed: as of ``IndexKeeper``.

    """

    parameters: Parameters
    indexed: torch.Tensor | None
    prior: torch.Tensor | None

    @property
    def changed(self) -> torch.Tensor | None:
        """See the class."""
        ...


@dataclass
class IndexKeeper:
    """The index over rows that move between rounds.

    Attributes:
        settings: of the index.
        seed: of its hash functions.
        rows: (n, d) float32, shared with the server, which writes them between rounds.
        prior: (n,) public counts; a tensor where the server shares counts that grow.
        changed: (n,) int64, shared: the last round at whose end each row moved, below 1 where none did; None
            where nobody notes it, and every index is built anew.

    """

    settings: RetrievalSettings
    seed: int
    rows: torch.Tensor
    prior: np.ndarray | torch.Tensor
    changed: torch.Tensor | None = None
    _last: tuple[int, Index] | None = field(default=None, init=False, repr=False)
    _followed: bool = field(default=False, init=False, repr=False)

    @classmethod
    def of(cls, config: Config, state: Indexed, public: np.ndarray) -> "IndexKeeper":
        """Of a run, with its public counts."""
        rows = state.parameters.rows if state.indexed is None else state.indexed
        prior = public if state.prior is None else state.prior
        return cls(config.retrieval, config.seed, rows, prior, state.changed)

    def at(self, round: int) -> Index:
        """The index for the clients of ``round``, built as often as the settings say."""
        return self.index(refreshed(round, self.settings.rebuilt_every), round)

    def index(self, built: int, round: int) -> Index:
        """The index of the rows as they were before round ``built``, for the clients of ``round``.

        Raises:
            HashfedError: where rows or counts are not finite.

        """
        if self._last is None or self._last[0] != built:
            self._last = built, self._make(built)
            # Else this process may have been resumed in between, and what moved before is not noted.
            self._followed = built == round
        return self._last[1]

    def _make(self, built: int) -> Index:
        prior = self.prior if isinstance(self.prior, np.ndarray) else self.prior.numpy().copy()
        if self._last is not None and self._last[0] < built and self._followed and self.changed is not None:
            last, index = self._last
            if index.exact_refresh:
                # That index is of the rows before round ``last``; the end of this round moved some of them.
                moved = self.changed.numpy() >= last
                if np.count_nonzero(moved) <= MOST_MOVED * len(moved):
                    return index.refresh(self.rows, np.flatnonzero(moved), prior)
        return build_index(self.rows, self.settings, prior, self.seed)


def refreshed(round: int, refresh: int) -> int:
    """The round before which the index of ``round`` was built: the first of every ``refresh``."""
    return round - (round - 1) % refresh
