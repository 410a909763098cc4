"""Nearest rows found by FAISS, with any index that its factory makes (Douze et al. 2024).

Like ``exact``, the clients send their queries: a yardstick for the speed and quality of search, not for
privacy. FAISS's own seeds are constants and it runs in one thread, so that the same rows give the same
index.
"""

import re
from typing import Any, Literal, Self

import numpy as np
import torch
from pydantic import Field, field_validator

from hashfed.errors import HashfedError
from hashfed.retrieval.faiss_library import (
    reason,
    single_threaded_faiss,
    training_vectors,
    without_warnings,
)
from hashfed.retrieval.neighbors import NeighborIndex, NeighborSettings

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

    @property
    def index_bytes(self) -> int:
        """Bytes of the index, with the copy of the rows that some kinds keep."""
        with single_threaded_faiss(METHOD) as faiss:
            return len(faiss.serialize_index(self._index))


class FaissSettings(NeighborSettings):
    """The same mass, over the nearest rows that FAISS finds."""

    method: Literal["faiss"] = "faiss"
    faiss_factory: str = "HNSW32"
    """Kind of index, in FAISS's own notation, such as Flat, HNSW32 or IVF256,PQ16."""
    faiss_probes: int = Field(16, ge=1)
    """Lists that a query visits, where the kind has lists."""

    @field_validator("faiss_factory")
    @classmethod
    def _check_factory(cls, value: str) -> str:
        # FAISS ends the process at HNSW0, and only searches fail at IVF0.
        if re.search(r"(?<![0-9])0+(?![0-9])", value):
            raise ValueError("no number in it may be 0")
        return value

    def smallest(self) -> Self:
        """An index that trains nothing."""
        return self.model_copy(update={"faiss_factory": "Flat"})

    def build(self, rows: torch.Tensor, prior: np.ndarray, seed: int) -> NeighborIndex:
        """Train the index of ``faiss_factory`` on ``rows`` (n, d) and add them.

        Raises:
            HashfedError: where FAISS is missing or refuses the factory's string for these rows.

        """
        data = training_vectors(rows)
        size, dimension = data.shape
        with single_threaded_faiss(METHOD) as faiss:
            try:
                index = faiss.index_factory(dimension, self.faiss_factory, faiss.METRIC_INNER_PRODUCT)
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
                    f"retrieval.faiss_factory = {self.faiss_factory}: FAISS refuses it for {size} rows "
                    f"of length {dimension} ({reason(error)})"
                ) from None
            if lists is not None:
                lists.nprobe = min(self.faiss_probes, lists.nlist)
        neighbors = min(self.neighbors, size)
        return NeighborIndex(rows, neighbors, FaissSearcher(index, neighbors), prior, self.prior_strength)
