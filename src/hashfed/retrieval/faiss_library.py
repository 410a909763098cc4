"""FAISS, imported only by the methods that need it: the rest of hashfed works without."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch

from hashfed.errors import HashfedError
from hashfed.randomness import stream

TRAINING_ITERATIONS = 10
"""Of every k-means: like ``hashing.kmeans``, it hardly moves after that."""

PARTS = ("quantizer", "index", "storage", "base_index", "refine_index", "pq", "rq", "prq", "aq")
"""Attributes of FAISS's indexes that are trained with them."""


@contextmanager
def single_threaded_faiss(method: str) -> Iterator[Any]:
    """The module ``faiss``, which runs in one thread until the end of the block.

    Workers are one process per core already, and an HNSW graph built by several threads is another graph
    each time.

    Args:
        method: of the settings, for the message.

    Raises:
        HashfedError: where FAISS is not installed.

    """
    try:
        import faiss
    except ImportError:
        raise HashfedError(
            f"retrieval.method = {method}: needs the package faiss-cpu (pip install 'hashfed[ann]')"
        ) from None
    before = faiss.omp_get_max_threads()
    faiss.omp_set_num_threads(1)
    try:
        yield faiss
    finally:
        faiss.omp_set_num_threads(before)


def training_vectors(rows: torch.Tensor) -> np.ndarray:
    """``rows`` (n, d) as the contiguous float32 array that FAISS reads."""
    return np.ascontiguousarray(rows.cpu().numpy(), np.float32)


def faiss_seed(seed: int, purpose: str) -> int:
    """A seed for FAISS, which takes 31 bits."""
    return int(stream(seed, purpose).integers(2**31 - 1))


def without_warnings(faiss: Any, part: Any) -> list[Any]:
    """Let every k-means of an index, and of the indexes and quantizers in it, take few vectors for a cluster.

    FAISS writes a warning to standard error below 39 for each, and does nothing else about it.

    Returns:
        What must be kept until the index is trained.

    """
    if isinstance(part, faiss.Index):
        part = faiss.downcast_index(part)
    if hasattr(part, "cp"):
        part.cp.min_points_per_centroid = 1
    inner = [getattr(part, name, None) for name in PARTS]
    if isinstance(part, faiss.ProductAdditiveQuantizer):
        inner += [faiss.downcast_AdditiveQuantizer(part.subquantizer(i)) for i in range(part.nsplits)]
    kept = []
    if isinstance(part, faiss.IndexPreTransform):
        for position in range(part.chain.size()):
            transform = faiss.downcast_VectorTransform(part.chain.at(position))
            if isinstance(transform, faiss.OPQMatrix):
                # It would make the same one for itself.
                transform.pq = faiss.ProductQuantizer(transform.d_out, transform.M, 8)
                kept.append(transform.pq)
                inner.append(transform.pq)
    return kept + [item for value in inner if value is not None for item in without_warnings(faiss, value)]


def reason(error: Exception) -> str:
    """What FAISS says is wrong, in one line, without its function, file and condition."""
    text = " ".join(str(error).split())
    text = re.sub(r"^Error in .*?\.(?:cpp|h):\d+: ", "", text)
    return re.sub(r"^Error: '.*?' failed:? ?", "", text) or text
