"""What a client knows of an encoder before it comes: kind, numbers, types and shapes of arrays.

Whoever sends an encoder may be broken or hostile, and what a client allocates and computes grows with its
numbers; all of them follow from the configuration.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from hashfed.errors import HashfedError
from hashfed.hashing.transforms import APPENDED
from hashfed.retrieval.cells import CellsEncoder
from hashfed.retrieval.checks import Expected, check_arrays
from hashfed.retrieval.exact import ExactEncoder
from hashfed.retrieval.product_codes import CODEWORDS, ProductCodesEncoder
from hashfed.retrieval.protocol import NoEncoder
from hashfed.retrieval.query_centroids import QueryCentroidsEncoder
from hashfed.retrieval.query_codes import QueryCodesEncoder
from hashfed.retrieval.settings import RetrievalSettings
from hashfed.retrieval.simhash_encoder import PROJECTIONS, TRANSFORMS, SimHashEncoder

NONE = ("full", "random", "frequency")
"""Methods that ask for no keys."""
QUERIES = ("exact", "faiss", "hnswlib")
"""Methods that ask for the queries themselves."""


@dataclass(frozen=True)
class EncoderShape:
    """Of every encoder of a run.

    Attributes:
        kind: its kind.
        numbers: its parameters that are integers.
        arrays: types and shape of its parameters that are arrays.
        shorter: whether there may be fewer along the first axis.

    """

    kind: str
    numbers: Mapping[str, int] = field(default_factory=dict)
    arrays: Mapping[str, Expected] = field(default_factory=dict)
    shorter: bool = False

    def check(self, kind: str, numbers: Mapping[str, int], arrays: Mapping[str, np.ndarray]) -> None:
        """Refuse an encoder that is another one.

        Raises:
            HashfedError: where kind, a number, or type or shape of an array differs, or one is not finite.

        """
        self.check_numbers(kind, numbers)
        found = {f"encoder.{name}": value for name, value in arrays.items()}
        expected = {f"encoder.{name}": value for name, value in self.arrays.items()}
        check_arrays(found, expected, self.shorter)

    def check_numbers(self, kind: str, numbers: Mapping[str, int]) -> None:
        """Of these, kind and numbers.

        Raises:
            HashfedError: where one differs.

        """
        if kind != self.kind:
            raise HashfedError(f"encoder = {kind}: must be {self.kind}")
        for name in sorted(set(numbers) | set(self.numbers)):
            if numbers.get(name) != self.numbers.get(name):
                raise HashfedError(
                    f"encoder.{name} = {numbers.get(name, 'none')}: must be {self.numbers.get(name, 'none')}"
                )


def encoder_shape(settings: RetrievalSettings, dimension: int, seed: int) -> EncoderShape:
    """Of the encoders of all indexes of ``settings.method`` over rows of length ``dimension``.

    Args:
        settings: the method and its parameters.
        dimension: d.
        seed: the run's.

    """
    method = settings.method
    if method in NONE:
        return EncoderShape(NoEncoder.kind)
    if method in QUERIES:
        return EncoderShape(ExactEncoder.kind)
    codes = {"dimension": dimension, "bits": settings.code_bits, "seed": seed}
    if method == "query-codes":
        return EncoderShape(QueryCodesEncoder.kind, codes)
    if method == "query-centroids":
        return EncoderShape(QueryCentroidsEncoder.kind, codes | {"centroids": settings.centroids})
    if method == "product-codes":
        parts = settings.subspaces
        width = dimension // parts if settings.quantizer == "product" else dimension
        codebooks: Expected = (np.float16,), (parts, CODEWORDS, width)
        return EncoderShape(ProductCodesEncoder.kind, {"dimension": dimension}, {"codebooks": codebooks})
    if method == "cells":
        count = settings.cells
        shapes: dict[str, Expected] = {
            "centroids": ((np.float16,), (count, dimension)),
            "bias": ((np.float32,), (count,)),
            "spread": ((np.float32,), (count,)),
        }
        return EncoderShape(CellsEncoder.kind, {}, shapes, shorter=True)
    return _simhash_shape(settings, dimension, seed)


def _simhash_shape(settings: RetrievalSettings, dimension: int, seed: int) -> EncoderShape:
    numbers = {
        "bits": settings.bits,
        "tables": settings.tables,
        "dimension": dimension,
        "seed": seed,
        "transform": TRANSFORMS.index(settings.transform),
        "projection_kind": PROJECTIONS.index(settings.projections),
        "probes": settings.probes,
    }
    arrays: dict[str, Expected] = {}
    if settings.transform == "whiten":
        arrays["matrix"] = (np.float32,), (dimension, dimension)
    if settings.projections == "pca":
        width = dimension + APPENDED[settings.transform]
        arrays["projections"] = (np.float32,), (settings.bits * settings.tables, width)
    return EncoderShape(SimHashEncoder.kind, numbers, arrays)
