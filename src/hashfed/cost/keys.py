"""A client's encoder and keys: those of round 1, or typical ones of a model that nobody has made."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import torch

from hashfed.config import Config
from hashfed.engines.budget import planes_plan, sends_everything, sends_planes, sketcher, steps
from hashfed.federated import client as client_side
from hashfed.federated import server as server_side
from hashfed.federated.compression import compress_welcome, expand
from hashfed.federated.messages import ClientKeys
from hashfed.federated.protocols import in_lockstep
from hashfed.models import Model, Parameters
from hashfed.randomness import stream
from hashfed.retrieval import Encoder, Index, NoEncoder, build_index
from hashfed.tasks.examples import Examples


@dataclass(frozen=True)
class Hashing:
    """What travels for hashing.

    Attributes:
        encoder: what the client receives.
        keys: what it answers; empty where ``encoder`` asks for none.
        sketch: what it sends besides for the planes alone, if anything.
        planes: K, that the server makes of these where it sends a part of the rows.
        scored: vectors against which the index scores all rows; None where its work depends on what it holds.

    """

    encoder: Encoder
    keys: Mapping[str, np.ndarray]
    sketch: Mapping[str, np.ndarray] = field(default_factory=dict)
    planes: int = 0
    scored: int | None = 0

    @property
    def asked(self) -> bool:
        """Whether the client sends keys, or a sketch."""
        return self.encoder.kind != NoEncoder.kind or len(self.sketch) > 0


def first_hashing(
    config: Config, model: Model, parameters: Parameters, index: Index, examples: Examples
) -> Hashing:
    """Encoder and keys of a client with ``examples`` in round 1, as ``play_round`` sends them."""
    sketching = sketcher(config)
    if _nothing_asked(config) or (sketching is None and not config.retrieval.asks_keys):
        return Hashing(NoEncoder(), {})
    declared = client_side.declare(model, examples, 1, 1)
    welcome = server_side.welcome(parameters, index, declared)
    sent = expand(compress_welcome(welcome, config.compression.rows))
    keys = client_side.hash_queries(model, sent, declared, examples, sketching)
    points = len(server_side.points_of(index, keys, planes_plan(config))) if sends_planes(config) else 0
    return Hashing(index.encoder, keys.keys, keys.sketch, points, index.scored(keys.keys))


def typical_hashing(config: Config, predictions: int, rows: int) -> Hashing:
    """The same with random rows and queries, for a model that is only thought of.

    Exact where the size of the keys depends on no data; else that of a client whose queries have nothing in
    common, which is the most.

    Args:
        config: its method and the length of a row.
        predictions: queries of the client.
        rows: of the index, at most ``RetrievalSettings.typical_rows``: what travels depends on no more.

    Raises:
        HashfedError: where the method's library is missing.

    """
    sketching = sketcher(config)
    if _nothing_asked(config):
        return Hashing(NoEncoder(), {})
    rng = stream(config.seed, "typical keys")
    width = config.model.dimension
    table, queries = (
        torch.from_numpy(rng.standard_normal((count, width), dtype=np.float32))
        for count in (rows, predictions)
    )
    index = build_index(table, config.retrieval, np.ones(rows), config.seed)
    sketch = {} if sketching is None else sketching.encode(queries)
    keys = ClientKeys(1, dict(index.encoder.encode(queries)), dict(sketch))
    points = len(server_side.points_of(index, keys, planes_plan(config))) if sends_planes(config) else 0
    return Hashing(index.encoder, keys.keys, keys.sketch, points, index.scored(keys.keys))


def _nothing_asked(config: Config) -> bool:
    """Whether the rows are the same for all, whatever a client's queries; so are points of planes, if any."""
    return sends_everything(config) or in_lockstep(steps(config))
