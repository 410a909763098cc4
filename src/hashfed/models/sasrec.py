"""SASRec: self-attention over the items that somebody had (Kang and McAuley 2018), with tied rows.

As its authors and the PyTorch code that others go on from have it: queries of attention are normalised,
keys and values are not, and what a sublayer's result is added to is the normalised vector. Rows and
positions begin as N(0, 0.02²), as do all weights but those that make queries, keys and values (Glorot and
Bengio 2010).
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np
import torch
from pydantic import Field, model_validator
from torch.nn import functional

from hashfed.models.batch import Batch
from hashfed.models.noise import dropout
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

    def queries(self, body: Body, tables: Mapping[str, torch.Tensor], batch: Batch) -> torch.Tensor:
        """Hidden vectors after the last norm (see ``Model.queries``), of sequences (``tasks.sequences``).

        As in the transformer, only positions that are read are computed, packed to a matrix, and attention
        alone is on the grid (s, T).
        """
        inputs, predicted = batch.columns["inputs"], batch.columns["predicted"]
        read, noise = batch.columns.get("read", predicted), batch.noise
        sequences, length = inputs.shape
        packed = read.flatten().nonzero().squeeze(1)
        x = functional.embedding(inputs.flatten()[packed], tables[batch.tables["inputs"]])
        x = x * math.sqrt(self.embedding) + body["positions"][packed % length]
        x = dropout(x, self.dropout, noise)
        for block in range(self.blocks):
            name = f"blocks.{block}"
            x = self._attention(body, f"{name}.attention", x, packed, sequences, length, noise)
            x = _norm(body, f"{name}.ffn", x)
            hidden = torch.relu(dropout(_linear(body, f"{name}.ffn.in", x), self.dropout, noise))
            x = x + dropout(_linear(body, f"{name}.ffn.out", hidden), self.dropout, noise)
        if read is not predicted:
            x = x[predicted.flatten()[packed]]
        return _norm(body, "", x)

    def _attention(
        self,
        body: Body,
        name: str,
        x: torch.Tensor,
        packed: torch.Tensor,
        sequences: int,
        length: int,
        noise: torch.Generator | None,
    ) -> torch.Tensor:
        normal = _norm(body, name, x)
        made = torch.cat([_linear(body, f"{name}.query", normal), _linear(body, f"{name}.pair", x)], dim=1)
        grid = made.new_zeros(sequences * length, 3 * self.embedding).index_copy(0, packed, made)
        q, k, v = grid.view(sequences, length, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        scores = q @ k.transpose(2, 3) / math.sqrt(q.shape[-1])
        later = torch.ones(length, length, dtype=torch.bool, device=x.device).triu(1)
        shares = dropout(scores.masked_fill(later, -math.inf).softmax(-1), self.dropout, noise)
        mixed = (shares @ v).transpose(1, 2).reshape(sequences * length, self.embedding)
        return normal + _linear(body, f"{name}.out", mixed[packed])

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


def _linear(body: Body, name: str, x: torch.Tensor) -> torch.Tensor:
    return functional.linear(x, body[f"{name}.weight"], body[f"{name}.bias"])


def _norm(body: Body, of: str, x: torch.Tensor) -> torch.Tensor:
    name = f"{of}.norm" if of else "norm"
    weight = body[f"{name}.weight"]
    return functional.layer_norm(x, weight.shape, weight, body[f"{name}.bias"], EPSILON)


def _normal(rng: np.random.Generator, shape: tuple[int, ...]) -> torch.Tensor:
    return torch.from_numpy(rng.standard_normal(shape, dtype=np.float32) * np.float32(SPREAD))
