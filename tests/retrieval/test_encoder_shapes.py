"""What a client knows of an encoder before it comes."""

import importlib.util

import numpy as np
import pytest
import torch

from hashfed.errors import HashfedError
from hashfed.retrieval import METHODS, build_index, retrieval_settings
from small import fitting

SIZE, DIMENSION, SEED = 300, 6, 9
SETTINGS = [
    *({"method": method} for method in METHODS),
    {"method": "query-codes", "code_bits": 8},
    {"method": "query-centroids", "centroids": 3, "code_bits": 1},
    {"method": "product-codes", "quantizer": "residual"},
    {"method": "cells", "cells": 7},
    {"method": "multi-index", "quantizer": "product", "codeword_bits": 3},
    {"method": "sce-buckets", "buckets": 2},
    *(
        {"method": "simhash-union", "transform": transform, "projections": projections, "probes": 2}
        for transform in ("none", "center", "whiten", "simple-lsh", "sign-alsh")
        for projections in ("random", "orthogonal", "pca")
    ),
    {"method": "simhash-collisions", "norm_ranges": 3, "transform": "simple-lsh"},
]


@pytest.mark.parametrize("fields", SETTINGS, ids=str)
def test_every_encoder_is_as_the_client_expects_it_and_nothing_else(fields: dict[str, object]) -> None:
    if fields["method"] == "hnswlib" and importlib.util.find_spec("hnswlib") is None:
        pytest.skip("needs hashfed[hnswlib]")
    method = str(fields["method"])
    settings = retrieval_settings(**{**fitting(method, bits=2, tables=3, subspaces=3), **fields})
    rows = torch.randn(SIZE, DIMENSION, generator=torch.Generator().manual_seed(0))
    encoder = build_index(rows, settings, np.ones(SIZE), SEED).encoder
    expected = settings.encoder_shape(DIMENSION, SEED)
    kind, numbers, arrays = encoder.kind, encoder.numbers(), encoder.arrays()
    expected.check(kind, numbers, arrays)
    with pytest.raises(HashfedError, match=f"encoder = other: must be {kind}"):
        expected.check("other", numbers, arrays)
    with pytest.raises(HashfedError, match=r"encoder\.more = 1: must be none"):
        expected.check(kind, numbers | {"more": 1}, arrays)
    with pytest.raises(HashfedError, match=r"encoder\.more: is in only one of it and this configuration"):
        expected.check(kind, numbers, arrays | {"more": np.zeros(1)})
    for name, value in numbers.items():
        with pytest.raises(HashfedError, match=rf"encoder\.{name} = {value + 1}: must be {value}"):
            expected.check(kind, numbers | {name: value + 1}, arrays)
        with pytest.raises(HashfedError, match=rf"encoder\.{name} = none: must be {value}"):
            expected.check(kind, {k: v for k, v in numbers.items() if k != name}, arrays)
    for name, array in arrays.items():
        for bad in (array.astype(np.float64), np.concatenate([array] * 64), array[..., None], array[:0]):
            with pytest.raises(HashfedError, match=rf"encoder\.{name} of type .* and shape .*: must be "):
                expected.check(kind, numbers, arrays | {name: bad})
        for odd in (np.nan, np.inf):
            bad = array.copy()
            bad.flat[-1] = odd
            with pytest.raises(HashfedError, match=rf"encoder\.{name}: has a value that is not finite"):
                expected.check(kind, numbers, arrays | {name: bad})
