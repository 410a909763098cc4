"""Retrieval methods by name: a new one adds its file and one line here."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from hashfed.errors import HashfedError
from hashfed.retrieval.cells import CellsSettings
from hashfed.retrieval.checks import check_counts, check_rows
from hashfed.retrieval.exact import ExactSettings
from hashfed.retrieval.faiss_search import FaissSettings
from hashfed.retrieval.frequency import FrequencySettings
from hashfed.retrieval.full import FullSettings
from hashfed.retrieval.hnswlib_search import HnswlibSettings
from hashfed.retrieval.method import RetrievalSettings
from hashfed.retrieval.multi_index import MultiIndexSettings
from hashfed.retrieval.product_codes import ProductCodesSettings
from hashfed.retrieval.protocol import Encoder, Index
from hashfed.retrieval.query_centroids import QueryCentroidsSettings
from hashfed.retrieval.query_codes import QueryCodesSettings
from hashfed.retrieval.random import RandomSettings
from hashfed.retrieval.sce_buckets import SceBucketsSettings
from hashfed.retrieval.simhash_collisions import SimHashCollisionsSettings
from hashfed.retrieval.simhash_union import SimHashUnionSettings
from hashfed.settings import ByName

METHODS: dict[str, type[RetrievalSettings]] = {
    "full": FullSettings,
    "random": RandomSettings,
    "frequency": FrequencySettings,
    "exact": ExactSettings,
    "faiss": FaissSettings,
    "hnswlib": HnswlibSettings,
    "cells": CellsSettings,
    "query-centroids": QueryCentroidsSettings,
    "query-codes": QueryCodesSettings,
    "product-codes": ProductCodesSettings,
    "multi-index": MultiIndexSettings,
    "sce-buckets": SceBucketsSettings,
    "simhash-union": SimHashUnionSettings,
    "simhash-collisions": SimHashCollisionsSettings,
}

BY_METHOD = ByName("method", METHODS, "query-centroids")
"""How a configuration names one."""


def retrieval_settings(method: str = BY_METHOD.default, **fields: Any) -> RetrievalSettings:
    """A method with these settings, the others at their defaults.

    Raises:
        ValidationError: as ``ByName.choose``.

    """
    chosen: RetrievalSettings = BY_METHOD.choose({"method": method, **fields})
    return chosen


def build_index(rows: torch.Tensor, settings: RetrievalSettings, prior: np.ndarray, seed: int) -> Index:
    """The index of a method over ``rows`` (paper, section 3.2, step 1).

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
    return settings.build(rows, prior, seed)


def make_encoder(kind: str, numbers: Mapping[str, Any]) -> Encoder:
    """The encoder that a client received, from its kind and parameters.

    Raises:
        HashfedError: for an unknown kind or wrong parameters.

    """
    encoders = {method.encoder.kind: method.encoder for method in METHODS.values()}
    if kind not in encoders:
        raise HashfedError(f"encoder {kind!r}: must be one of {', '.join(encoders)}")
    try:
        return encoders[kind].from_numbers(**numbers)
    except (TypeError, ValueError) as error:
        raise HashfedError(f"encoder {kind!r} with parameters {sorted(numbers)}: {error}") from None
