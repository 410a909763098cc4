"""Nearest rows found by FAISS, with any index that its factory makes (Douze et al. 2024).

Like ``exact``, the clients send their queries: a yardstick for the speed and quality of search, not for
privacy. FAISS's own seeds are constants and it runs in one thread, so that the same rows give the same
index.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from hashfed.errors import HashfedError
from hashfed.retrieval.evidence import with_prior
from hashfed.retrieval.exact import ExactEncoder, check_queries
from hashfed.retrieval.faiss_library import (
    reason,
    single_threaded_faiss,
    training_vectors,
    without_warnings,
)
from hashfed.retrieval.neighbors import neighbor_mass
from hashfed.retrieval.protocol import Candidates, Keys
from hashfed.retrieval.settings import RetrievalSettings

METHOD = "faiss"


class FaissSearcher:
    """A FAISS index that answers with ids."""

    def __init__(self, index: Any, neighbors: int) -> None:
        self._index, self._neighbors = index, neighbors

    def __call__(self, queries: np.ndarray) -> np.ndarray:
        """Ids (count, k) int64 of the nearest rows of ``queries`` (count, d) float32, −1 for none."""
        with single_threaded_faiss(METHOD):
            try:
                return np.asarray(self._index.search(queries, self._neighbors)[1])
            except RuntimeError as error:
                raise HashfedError(
                    f"retrieval.method = faiss: FAISS cannot search ({reason(error)})"
                ) from None

    def serialized(self) -> np.ndarray:
        """The index in FAISS's own binary format, uint8."""
        with single_threaded_faiss(METHOD) as faiss:
            return np.asarray(faiss.serialize_index(self._index))

    @property
    def index_bytes(self) -> int:
        """Bytes of the index, with the copy of the rows that some kinds keep."""
        return len(self.serialized())


@dataclass(frozen=True)
class FaissIndex:
    """Scores = softmax mass over each query's nearest rows, plus the prior."""

    rows: torch.Tensor
    neighbors: int
    search: FaissSearcher
    prior: np.ndarray
    strength: float
    encoder: ExactEncoder = field(default_factory=ExactEncoder)

    @classmethod
    def build(
        cls, rows: torch.Tensor, settings: RetrievalSettings, prior: np.ndarray, seed: int
    ) -> "FaissIndex":
        """Train the index of ``settings.faiss_factory`` on ``rows`` (n, d) and add them.

        Raises:
            HashfedError: where FAISS is missing or refuses the factory's string for these rows.

        """
        data = training_vectors(rows)
        size, dimension = data.shape
        with single_threaded_faiss(METHOD) as faiss:
            try:
                index = faiss.index_factory(dimension, settings.faiss_factory, faiss.METRIC_INNER_PRODUCT)
                lists = faiss.try_extract_index_ivf(index)
                for part in (index, lists):
                    # Codes for a search by Hamming distance, not used here, take most of the training.
                    if hasattr(faiss.downcast_index(part), "do_polysemous_training"):
                        faiss.downcast_index(part).do_polysemous_training = False
                kept = without_warnings(faiss, index)
                index.train(data)
                del kept
                index.add(data)
            except RuntimeError as error:
                raise HashfedError(
                    f"retrieval.faiss_factory = {settings.faiss_factory}: FAISS refuses it for {size} rows "
                    f"of length {dimension} ({reason(error)})"
                ) from None
            if lists is not None:
                lists.nprobe = min(settings.faiss_probes, lists.nlist)
        neighbors = min(settings.neighbors, size)
        return cls(rows, neighbors, FaissSearcher(index, neighbors), prior, settings.prior_strength)

    def state(self) -> dict[str, torch.Tensor]:
        """FAISS's index, to be saved."""
        return {"faiss": torch.from_numpy(self.search.serialized())}

    @classmethod
    def restore(
        cls,
        rows: torch.Tensor,
        settings: RetrievalSettings,
        prior: np.ndarray,
        seed: int,
        state: Mapping[str, torch.Tensor],
    ) -> "FaissIndex":
        """The index whose ``state`` this is, over the same ``rows`` (n, d)."""
        with single_threaded_faiss(METHOD) as faiss:
            index = faiss.deserialize_index(state["faiss"].numpy())
        if (index.ntotal, index.d) != tuple(rows.shape):
            raise ValueError(f"{index.ntotal} rows of length {index.d}")
        neighbors = min(settings.neighbors, len(rows))
        return cls(rows, neighbors, FaissSearcher(index, neighbors), prior, settings.prior_strength)

    def lookup(self, keys: Keys) -> Candidates:
        """The rows that are near a query, and those that the prior knows."""
        queries = check_queries(keys, self.rows.shape[1])
        mass = neighbor_mass(self.rows, queries, self.neighbors, self.search)
        return Candidates.positive(with_prior(mass, self.prior, self.strength))

    def queries(self, keys: Keys) -> tuple[torch.Tensor, None]:
        """The queries themselves."""
        return check_queries(keys, self.rows.shape[1]), None
