"""SASRec: self-attention over the items that somebody had (Kang and McAuley 2018), with tied rows.

As its authors and the PyTorch code that others go on from have it: queries of attention are normalised,
keys and values are not, and what a sublayer's result is added to is the normalised vector. Rows and
positions begin as N(0, 0.02²), as do all weights but those that make queries, keys and values (Glorot and
Bengio 2010).
"""

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar, Literal

import numpy as np
import torch
from pydantic import Field, model_validator
from torch.nn import functional

from hashfed.models.batch import Batch
from hashfed.models.noise import draw_dropout, dropout
from hashfed.models.packing import (
    Columns,
    from_grid,
    grid_shape,
    pack_sequences,
    positions,
    to_grid,
    with_prediction,
)
from hashfed.models.protocol import INPUT, OUTPUT, Model, Parameters
from hashfed.models.settings import ModelSettings
from hashfed.models.transformer import WIDEST

Body = Mapping[str, torch.Tensor]

SPREAD = 0.02
"""Standard deviation of fresh weights."""
EPSILON = 1e-8
"""Of the norms."""


@dataclass(frozen=True)
class SASRec(Model):
    """Causal self-attention with learned positions.

    Attributes:
        embedding: d, width of all vectors and of the rows.
        heads: number of heads; divides ``embedding``.
        blocks: number of blocks.
        length: positions that it reads at most.
        dropout: share of numbers that is dropped in training: of what is read, of the attention, and in the
            feed-forward layers.

    """

    embedding: int = 64
    heads: int = 1
    blocks: int = 2
    length: int = 50
    dropout: float = 0.1

    @property
    def tables(self) -> dict[str, int]:
        """See ``Model``."""
        return {OUTPUT: self.embedding}

    @property
    def tied(self) -> dict[str, str]:
        """See ``Model``."""
        return {INPUT: OUTPUT}

    @property
    def reads(self) -> tuple[str, ...]:
        """See ``Model``: sequences (``tasks.sequences``)."""
        return ("inputs", "predicted")

    def init(self, sizes: Mapping[str, int], rng: np.random.Generator) -> Parameters:
        """As the module says; biases zero, gains one."""
        rows = _normal(rng, (sizes[OUTPUT], self.embedding))
        body = {}
        for name, shape in self.body_shapes().items():
            if name.endswith("norm.weight"):
                body[name] = torch.ones(shape)
            elif name.endswith("bias"):
                body[name] = torch.zeros(shape)
            elif name.endswith(("query.weight", "pair.weight")):
                # Those of queries, keys and values are one matrix to the reference.
                bound = math.sqrt(6 / (4 * self.embedding))
                body[name] = torch.from_numpy(rng.uniform(-bound, bound, shape).astype(np.float32))
            else:
                body[name] = _normal(rng, shape)
        return Parameters({OUTPUT: rows}, body)

    def body_shapes(self) -> dict[str, tuple[int, ...]]:
        """Those of ``init``."""
        d = self.embedding
        shapes: dict[str, tuple[int, ...]] = {"positions": (self.length, d)}
        linear = {
            "attention.query": d,
            "attention.pair": 2 * d,
            "attention.out": d,
            "ffn.in": d,
            "ffn.out": d,
        }
        norms = [
            f"blocks.{block}.{part}.norm" for block in range(self.blocks) for part in ("attention", "ffn")
        ]
        for block in range(self.blocks):
            for name, outputs in linear.items():
                shapes[f"blocks.{block}.{name}.weight"] = (outputs, d)
                shapes[f"blocks.{block}.{name}.bias"] = (outputs,)
        for name in (*norms, "norm"):
            shapes[f"{name}.weight"] = shapes[f"{name}.bias"] = (d,)
        return shapes

    @property
    def stackable(self) -> bool:
        """See ``Model``."""
        return True

    def pack(self, batch: Batch, stacked: bool = False) -> Batch:
        """See ``packing``; with noise, columns ``dropout.0`` and so on of draws, in order of their use."""
        packed = pack_sequences(batch, stacked, trim=True)
        if not batch.noise or self.dropout == 0:
            return packed
        draws = [self._draws(*sizes, noise) for sizes, noise in zip(_sizes(packed), batch.noise, strict=True)]
        columns, device = dict(packed.columns), packed.columns["inputs"].device
        for number, parts in enumerate(zip(*draws, strict=True)):
            columns[f"dropout.{number}"] = _beside(parts).to(device)
        layout = packed.layout
        if layout is not None:
            names = frozenset(f"dropout.{number}" for number in range(len(draws[0])))
            attention = frozenset(f"dropout.{number}" for number in range(1, len(draws[0]), 3))
            layout = replace(
                layout,
                of_items=layout.of_items | (names - attention),
                of_examples=layout.of_examples | attention,
            )
        return replace(packed, columns=columns, noise=(), layout=layout)

    def _draws(self, items: int, sequences: int, length: int, noise: torch.Generator) -> list[torch.Tensor]:
        """Of one client's batch, in the order of their use."""
        vectors = (items, self.embedding)
        shapes: list[tuple[int, ...]] = [vectors]
        for _ in range(self.blocks):
            shapes += [(sequences, self.heads, length, length), vectors, vectors]
        return [draw_dropout(shape, self.dropout, noise) for shape in shapes]

    def queries(self, body: Body, tables: Mapping[str, torch.Tensor], batch: Batch) -> torch.Tensor:
        """Hidden vectors after the last norm (see ``Model.queries``), of sequences (``tasks.sequences``).

        As in the transformer, a batch is a (p, d) matrix, and (s, T) for attention alone.
        """
        columns = batch.columns
        draws = (columns.get(f"dropout.{number}") for number in itertools.count())
        x = functional.embedding(columns["inputs"].flatten(), tables[batch.tables["inputs"]])
        x = x * math.sqrt(self.embedding) + body["positions"][positions(columns)]
        x = dropout(x, next(draws))
        for block in range(self.blocks):
            name = f"blocks.{block}"
            x = self._attention(body, f"{name}.attention", x, columns, next(draws))
            x = _norm(body, f"{name}.ffn", x)
            hidden = torch.relu(dropout(_linear(body, f"{name}.ffn.in", x), next(draws)))
            x = x + dropout(_linear(body, f"{name}.ffn.out", hidden), next(draws))
        return _norm(body, "", with_prediction(x, columns))

    def _attention(
        self, body: Body, name: str, x: torch.Tensor, columns: Columns, drawn: torch.Tensor | None
    ) -> torch.Tensor:
        normal = _norm(body, name, x)
        made = torch.cat([_linear(body, f"{name}.query", normal), _linear(body, f"{name}.pair", x)], dim=1)
        grid = to_grid(made, columns)
        sequences, length, _ = grid.shape
        q, k, v = grid.view(sequences, length, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        scores = q @ k.transpose(2, 3) / math.sqrt(q.shape[-1])
        later = torch.ones(length, length, dtype=torch.bool, device=x.device).triu(1)
        shares = dropout(scores.masked_fill(later, -math.inf).softmax(-1), drawn)
        mixed = (shares @ v).transpose(1, 2).reshape(sequences, length, self.embedding)
        return normal + _linear(body, f"{name}.out", from_grid(mixed, columns))

    def body_flops(self, positions: int, examples: int, length: int) -> int:
        """2 per weight and position, and 4·T²·d per example and block for attention itself."""
        weights = 6 * self.embedding * self.embedding
        scores = 4 * examples * length * length * self.embedding
        return self.blocks * (2 * weights * positions + scores)


class SASRecSettings(ModelSettings):
    """SASRec."""

    name: Literal["sasrec"] = "sasrec"
    embedding: int = Field(64, ge=1, le=WIDEST)
    """d, width of rows and hidden vectors."""
    heads: int = Field(1, ge=1)
    """Attention heads; must divide the width."""
    blocks: int = Field(2, ge=1, le=1000)
    """Number of blocks."""
    length: int = Field(50, ge=1, le=2**20)
    """Positions that it has a vector for; examples may not be longer."""
    dropout: float = Field(0.1, ge=0, lt=1)
    """Share of numbers that is dropped in training."""

    width: ClassVar[str] = "embedding"
    longest: ClassVar[str | None] = "length"
    others: ClassVar[tuple[str, ...]] = ("blocks",)

    @model_validator(mode="after")
    def _check_heads(self) -> "SASRecSettings":
        if self.embedding % self.heads:
            raise ValueError(f"heads = {self.heads}: must divide model.embedding = {self.embedding}")
        return self

    def build(self) -> SASRec:
        """See ``SASRec``."""
        return SASRec(self.embedding, self.heads, self.blocks, self.length, self.dropout)

    def smallest(self) -> "SASRecSettings":
        """See ``ModelSettings``."""
        return self.model_copy(update={"embedding": 4, "heads": 1, "blocks": 1, "length": 50})

    def step(self, size: str) -> int:
        """The width is divided among the heads."""
        return self.heads if size == self.width else 1


def _sizes(packed: Batch) -> list[tuple[int, int, int]]:
    """Positions, sequences and the longest one's length, of each client's part of a packed batch."""
    columns, (sequences, length) = packed.columns, grid_shape(packed.columns)
    if packed.clients is None:
        return [(columns["inputs"].numel(), sequences, length)]
    owners = torch.repeat_interleave(packed.clients)[columns["sequences"]]
    items = torch.bincount(owners, minlength=len(packed.clients))
    longest = torch.zeros_like(items).scatter_reduce_(0, owners, columns["positions"] + 1, "amax")
    return list(zip(items.tolist(), packed.clients.tolist(), longest.tolist(), strict=True))


def _beside(parts: Sequence[torch.Tensor]) -> torch.Tensor:
    """Arrays one after the other, with zeros at the end of all dimensions but the first."""
    if len(parts) == 1:
        return parts[0]
    most = [max(sizes) for sizes in zip(*(part.shape[1:] for part in parts), strict=True)]
    joined = torch.zeros(sum(len(part) for part in parts), *most)
    start = 0
    for part in parts:
        joined[(slice(start, start + len(part)), *(slice(size) for size in part.shape[1:]))] = part
        start += len(part)
    return joined


def _linear(body: Body, name: str, x: torch.Tensor) -> torch.Tensor:
    return functional.linear(x, body[f"{name}.weight"], body[f"{name}.bias"])


def _norm(body: Body, of: str, x: torch.Tensor) -> torch.Tensor:
    name = f"{of}.norm" if of else "norm"
    weight = body[f"{name}.weight"]
    return functional.layer_norm(x, weight.shape, weight, body[f"{name}.bias"], EPSILON)


def _normal(rng: np.random.Generator, shape: tuple[int, ...]) -> torch.Tensor:
    return torch.from_numpy(rng.standard_normal(shape, dtype=np.float32) * np.float32(SPREAD))
