"""A client's encoder and keys: those of round 1, or typical ones of a model that nobody has made."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch

from hashfed.config import Config
from hashfed.data.sentences import Sentences
from hashfed.engines.exchange import sends_everything
from hashfed.federated import client as client_side
from hashfed.federated import server as server_side
from hashfed.federated.messages import Declare
from hashfed.models import Model, Parameters
from hashfed.randomness import stream
from hashfed.retrieval import Encoder, Index, NoEncoder, RetrievalSettings, build_index

ROWS_PER_CELL = 4
"""Enough rows for every cell of a typical index to have one."""
LEAST_ROWS = 256
"""Of a typical index without cells."""


@dataclass(frozen=True)
class Hashing:
    """What travels for hashing.

    Attributes:
        encoder: what the client receives.
        keys: what it answers; empty where ``encoder`` asks for none.

    """

    encoder: Encoder
    keys: Mapping[str, np.ndarray]

    @property
    def asked(self) -> bool:
        """Whether the client sends keys."""
        return not isinstance(self.encoder, NoEncoder)


def first_hashing(
    config: Config, model: Model, parameters: Parameters, index: Index, sentences: Sentences
) -> Hashing:
    """Encoder and keys of a client with ``sentences`` in round 1, as ``play_round`` sends them."""
    if sends_everything(config) or isinstance(index.encoder, NoEncoder):
        return Hashing(NoEncoder(), {})
    declared = Declare(1, sentences.own_rows().astype(np.int32), 1)
    welcome = server_side.welcome(parameters, index, declared)
    keys = client_side.hash_queries(model, welcome, declared.own, sentences)
    return Hashing(index.encoder, keys.keys)


def typical_hashing(config: Config, predictions: int, rows: int) -> Hashing:
    """The same with random rows and queries, for a model that is only thought of.

    Exact where the size of the keys depends on no data; else that of a client whose queries have nothing in
    common, which is the most.

    Args:
        config: its method and the length of a row.
        predictions: queries of the client.
        rows: of the index, at most ``typical_rows``: what travels depends on no more.

    Raises:
        HashfedError: where the method's library is missing.

    """
    if sends_everything(config):
        return Hashing(NoEncoder(), {})
    rng = stream(config.seed, "typical keys")
    width = config.model.embedding
    table, queries = (
        torch.from_numpy(rng.standard_normal((count, width), dtype=np.float32))
        for count in (rows, predictions)
    )
    encoder = build_index(table, config.retrieval, np.ones(rows), config.seed).encoder
    return Hashing(encoder, encoder.encode(queries))


def typical_rows(settings: RetrievalSettings) -> int:
    """Rows with which an index has as large an encoder as with more."""
    return ROWS_PER_CELL * settings.cells if settings.method == "cells" else LEAST_ROWS
