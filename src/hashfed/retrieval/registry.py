"""Retrieval methods and encoders by name: a new method adds its file and one line here."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch

from hashfed.errors import HashfedError
from hashfed.retrieval.cells import CellsEncoder, CellsIndex
from hashfed.retrieval.checks import check_counts, check_rows
from hashfed.retrieval.exact import ExactEncoder, ExactIndex
from hashfed.retrieval.faiss_search import FaissIndex
from hashfed.retrieval.frequency import FrequencyIndex
from hashfed.retrieval.full import FullIndex
from hashfed.retrieval.hnswlib_search import HnswlibIndex
from hashfed.retrieval.product_codes import ProductCodesEncoder, ProductCodesIndex
from hashfed.retrieval.protocol import Encoder, Index, NoEncoder
from hashfed.retrieval.query_centroids import QueryCentroidsEncoder, QueryCentroidsIndex
from hashfed.retrieval.query_codes import QueryCodesEncoder, QueryCodesIndex
from hashfed.retrieval.random import RandomIndex
from hashfed.retrieval.settings import RetrievalSettings
from hashfed.retrieval.simhash_collisions import SimHashCollisionsIndex
from hashfed.retrieval.simhash_encoder import SimHashEncoder
from hashfed.retrieval.simhash_union import SimHashUnionIndex

Build = Callable[[torch.Tensor, RetrievalSettings, np.ndarray, int], Index]
"""``build(rows, settings, prior, seed)``: rows (n, d) float32, prior (n,) public counts of the labels."""

METHODS: dict[str, Build] = {
    "full": FullIndex.build,
    "random": RandomIndex.build,
    "frequency": FrequencyIndex.build,
    "exact": ExactIndex.build,
    "faiss": FaissIndex.build,
    "hnswlib": HnswlibIndex.build,
    "cells": CellsIndex.build,
    "query-centroids": QueryCentroidsIndex.build,
    "query-codes": QueryCodesIndex.build,
    "product-codes": ProductCodesIndex.build,
    "simhash-union": SimHashUnionIndex.build,
    "simhash-collisions": SimHashCollisionsIndex.build,
}

RESTORE: dict[str, Callable[..., Index]] = {
    "faiss": FaissIndex.restore,
    "cells": CellsIndex.restore,
    "product-codes": ProductCodesIndex.restore,
    "simhash-union": SimHashUnionIndex.restore,
    "simhash-collisions": SimHashCollisionsIndex.restore,
}
"""``restore(rows, settings, prior, seed, state)`` of methods whose index files hold more than settings."""

ENCODERS: dict[str, Callable[..., Encoder]] = {
    NoEncoder.kind: NoEncoder,
    ExactEncoder.kind: ExactEncoder,
    CellsEncoder.kind: CellsEncoder,
    QueryCentroidsEncoder.kind: QueryCentroidsEncoder.from_numbers,
    QueryCodesEncoder.kind: QueryCodesEncoder.from_numbers,
    ProductCodesEncoder.kind: ProductCodesEncoder,
    SimHashEncoder.kind: SimHashEncoder.from_numbers,
}


def build_index(rows: torch.Tensor, settings: RetrievalSettings, prior: np.ndarray, seed: int) -> Index:
    """The index of ``settings.method`` over ``rows`` (paper, section 3.2, step 1).

    Args:
        rows: (n, d) float32.
        settings: the method and its parameters.
        prior: (n,) public counts of how often each row is a label.
        seed: the run's, for the hash functions.

    Raises:
        HashfedError: where ``rows`` are no finite float32 matrix, or ``prior`` are not n finite counts.

    """
    check_rows(rows)
    check_counts(prior, len(rows))
    return METHODS[settings.method](rows, settings, prior, seed)


def make_encoder(kind: str, numbers: Mapping[str, Any]) -> Encoder:
    """The encoder that a client received, from its kind and parameters.

    Raises:
        HashfedError: for an unknown kind or wrong parameters.

    """
    if kind not in ENCODERS:
        raise HashfedError(f"encoder {kind!r}: must be one of {', '.join(ENCODERS)}")
    try:
        return ENCODERS[kind](**numbers)
    except (TypeError, ValueError) as error:
        raise HashfedError(f"encoder {kind!r} with parameters {sorted(numbers)}: {error}") from None
