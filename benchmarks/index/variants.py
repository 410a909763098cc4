"""The indexes that are compared, by the name that tables and plots show."""

from typing import Any

from hashfed.retrieval import RetrievalSettings, retrieval_settings
from hashfed.retrieval.faiss_search import FaissSettings
from hashfed.retrieval.product_codes import ProductCodesSettings

_SETTINGS: dict[str, dict[str, Any]] = {
    "exact": {"method": "exact"},
    "frequency": {"method": "frequency"},
    "random": {"method": "random"},
    "paper: union K8 L8": {"method": "simhash-union", "bits": 8, "tables": 8, "transform": "none"},
    "union K16 L64": {"method": "simhash-union", "bits": 16, "tables": 64, "transform": "none"},
    "union K12 L16, 4 probes": {"method": "simhash-union", "bits": 12, "tables": 16, "probes": 4},
    "collisions K8 L8": {"method": "simhash-collisions", "tables": 8, "prior": 0},
    "collisions K8 L64, not centred": {
        "method": "simhash-collisions",
        "transform": "none",
        "prior": 0,
    },
    "collisions K8 L64": {"method": "simhash-collisions", "prior": 0},
    "collisions K8 L64 × frequency": {"method": "simhash-collisions", "prior": 1},
    "collisions K8 L16, 4 probes": {
        "method": "simhash-collisions",
        "tables": 16,
        "probes": 4,
        "prior": 0,
    },
    "collisions, Simple-LSH": {"method": "simhash-collisions", "transform": "simple-lsh", "prior": 0},
    "collisions, Simple-LSH, 8 norm ranges": {
        "method": "simhash-collisions",
        "transform": "simple-lsh",
        "norm_ranges": 8,
        "prior": 0,
    },
    "collisions, Sign-ALSH": {"method": "simhash-collisions", "transform": "sign-alsh", "prior": 0},
    "collisions, whitened": {"method": "simhash-collisions", "transform": "whiten", "prior": 0},
    "collisions, orthogonal": {"method": "simhash-collisions", "projections": "orthogonal", "prior": 0},
    "collisions, PCA": {"method": "simhash-collisions", "projections": "pca", "prior": 0},
    "cells 256": {"method": "cells", "cells": 256},
    "cells 1024": {"method": "cells", "cells": 1024},
    "product codes": {"method": "product-codes"},
    "multi-index, 64 codewords twice (MIDX)": {"method": "multi-index"},
    "32 mixtures of queries (SCE)": {"method": "sce-buckets", "bucket_rows": 1024},
    "query codes, 1 bit": {"method": "query-codes", "code_bits": 1},
    "query codes, 4 bits": {"method": "query-codes", "code_bits": 4},
    "centroids 8": {"method": "query-centroids", "centroids": 8, "code_bits": 4},
    "centroids 32": {"method": "query-centroids", "centroids": 32, "code_bits": 4},
    "centroids 128": {"method": "query-centroids", "centroids": 128, "code_bits": 4},
    "HNSW (FAISS)": {"method": "faiss", "faiss_factory": "HNSW32"},
    "IVF-PQ (FAISS)": {"method": "faiss", "faiss_factory": "IVF256,PQ16"},
    "HNSW (hnswlib)": {"method": "hnswlib"},
}
VARIANTS = {name: retrieval_settings(**settings) for name, settings in _SETTINGS.items()}
"""Parameters are those at which the method does best or, for the paper's, those of the paper."""


def fitted(settings: RetrievalSettings, dimension: int) -> RetrievalSettings:
    """The settings with numbers of sub-spaces that divide ``dimension``: the largest not above theirs."""
    change: dict[str, object] = {}
    if isinstance(settings, ProductCodesSettings):
        change["subspaces"] = _divisor(dimension, settings.subspaces)
    if isinstance(settings, FaissSettings) and ",PQ" in settings.faiss_factory:
        start, _, subspaces = settings.faiss_factory.rpartition(",PQ")
        change["faiss_factory"] = f"{start},PQ{_divisor(dimension, int(subspaces))}"
    return settings.model_copy(update=change)


def _divisor(number: int, most: int) -> int:
    return max(divisor for divisor in range(1, most + 1) if number % divisor == 0)
