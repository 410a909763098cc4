"""The paper's next-word model: a small transformer whose input and output layer share their rows, or do not.

With d = 96, FFN 1536, 3 blocks: 331,776 weights and 2,400 biases and gains per block, 960,384 at
n = 10,004 rows (Table 1 of the paper).
"""

import functools
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np
import torch
from pydantic import Field, model_validator
from torch.nn import functional

from hashfed.errors import HashfedError
from hashfed.models.batch import Batch
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

Body = Mapping[str, torch.Tensor]

SHORT = 64
"""Up to so many positions plain matrix products are faster than the kernel made for long sequences (on a CPU
by 0.5 of 1.2 ms, forward and backward, at 16 sequences of 20 positions and 8 heads of 12)."""
WIDEST = 2**24
"""Of a layer: far beyond any machine, but no number of bytes that overflows."""


@dataclass(frozen=True)
class Transformer(Model):
    """Causal transformer with layer norm before each sublayer and fixed sinusoidal positions.

    Attributes:
        embedding: d, width of the residual stream and of the rows.
        attention: width of queries, keys and values together over all heads.
        heads: number of heads; divides ``attention``.
        ffn: width of the feed-forward layer.
        blocks: number of blocks.
        tie_embeddings: whether what it reads are rows of the output table (Press and Wolf 2017).

    """

    embedding: int = 96
    attention: int = 96
    heads: int = 8
    ffn: int = 1536
    blocks: int = 3
    tie_embeddings: bool = True

    @property
    def tables(self) -> dict[str, int]:
        """See ``Model``."""
        names = [OUTPUT] if self.tie_embeddings else [OUTPUT, INPUT]
        return dict.fromkeys(names, self.embedding)

    @property
    def tied(self) -> dict[str, str]:
        """See ``Model``."""
        return {INPUT: OUTPUT} if self.tie_embeddings else {}

    @property
    def reads(self) -> tuple[str, ...]:
        """See ``Model``: sequences (``tasks.sequences``)."""
        return ("inputs", "predicted")

    def init(self, sizes: Mapping[str, int], rng: np.random.Generator) -> Parameters:
        """Normal weights of variance 1/fan-in, smaller where they write to the residual stream."""
        d, a, f = self.embedding, self.attention, self.ffn
        body: dict[str, torch.Tensor] = {}

        def linear(name: str, outputs: int, inputs: int, scale: float = 1.0) -> None:
            weight = rng.standard_normal((outputs, inputs), dtype=np.float32)
            body[f"{name}.weight"] = torch.from_numpy(weight * np.float32(scale / math.sqrt(inputs)))
            body[f"{name}.bias"] = torch.zeros(outputs)

        def norm(name: str) -> None:
            body[f"{name}.weight"] = torch.ones(d)
            body[f"{name}.bias"] = torch.zeros(d)

        residual = 1 / math.sqrt(2 * self.blocks)
        tables = {
            name: torch.from_numpy(
                rng.standard_normal((sizes[name], d), dtype=np.float32) / np.float32(math.sqrt(d))
            )
            for name in self.tables
        }
        for block in range(self.blocks):
            norm(f"blocks.{block}.attention.norm")
            linear(f"blocks.{block}.attention.qkv", 3 * a, d)
            linear(f"blocks.{block}.attention.out", d, a, residual)
            norm(f"blocks.{block}.ffn.norm")
            linear(f"blocks.{block}.ffn.in", f, d)
            linear(f"blocks.{block}.ffn.out", d, f, residual)
        norm("norm")
        return Parameters(tables, body)

    def body_shapes(self) -> dict[str, tuple[int, ...]]:
        """Those of ``init``."""
        d, a, f = self.embedding, self.attention, self.ffn
        shapes: dict[str, tuple[int, ...]] = {"norm.weight": (d,), "norm.bias": (d,)}
        for block in range(self.blocks):
            start = f"blocks.{block}"
            for name in ("attention", "ffn"):
                shapes |= {f"{start}.{name}.norm.weight": (d,), f"{start}.{name}.norm.bias": (d,)}
            linear = {
                "attention.qkv": (3 * a, d),
                "attention.out": (d, a),
                "ffn.in": (f, d),
                "ffn.out": (d, f),
            }
            for name, shape in linear.items():
                shapes |= {f"{start}.{name}.weight": shape, f"{start}.{name}.bias": shape[:1]}
        return shapes

    @property
    def stackable(self) -> bool:
        """See ``Model``."""
        return True

    def pack(self, batch: Batch, stacked: bool = False) -> Batch:
        """See ``packing``: only positions that are read are computed."""
        return pack_sequences(batch, stacked)

    def queries(self, body: Body, tables: Mapping[str, torch.Tensor], batch: Batch) -> torch.Tensor:
        """Hidden vectors after the last norm (see ``Model.queries``), of sequences (``tasks.sequences``).

        A batch is a (p, d) matrix, and (s, T) for attention alone. Padding sits at the end of a sequence, so
        under the causal mask no position that is read attends to it.
        """
        columns, rows = batch.columns, tables[batch.tables["inputs"]]
        places = _sinusoids(grid_shape(columns)[1], self.embedding, rows.device)[positions(columns)]
        embedded = functional.embedding(columns["inputs"].flatten(), rows)
        x = embedded * math.sqrt(self.embedding) + places
        for block in range(self.blocks):
            x = x + self._attention(body, f"blocks.{block}.attention", x, columns)
            x = x + _feed_forward(body, f"blocks.{block}.ffn", x)
        return _norm(body, "norm", with_prediction(x, columns))

    def _attention(self, body: Body, name: str, x: torch.Tensor, columns: Columns) -> torch.Tensor:
        grid = to_grid(_linear(body, f"{name}.qkv", _norm(body, f"{name}.norm", x)), columns)
        sequences, length, _ = grid.shape
        q, k, v = grid.view(sequences, length, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        mixed = _causal_attention(q, k, v).transpose(1, 2).reshape(sequences, length, self.attention)
        return _linear(body, f"{name}.out", from_grid(mixed, columns))

    def body_flops(self, positions: int, examples: int, length: int) -> int:
        """2 per weight and position, and 4·T²·attention per example and block for attention itself."""
        weights = 4 * self.embedding * self.attention + 2 * self.embedding * self.ffn
        scores = 4 * examples * length * length * self.attention
        return self.blocks * (2 * weights * positions + scores)


class TransformerSettings(ModelSettings):
    """The paper's transformer."""

    name: Literal["transformer"] = "transformer"
    embedding: int = Field(96, ge=1, le=WIDEST)
    """d, width of rows and hidden vectors."""
    attention: int = Field(96, ge=1, le=WIDEST)
    """Width of queries, keys and values, all heads together."""
    heads: int = Field(8, ge=1)
    """Attention heads; must divide the attention width."""
    ffn: int = Field(1536, ge=1, le=WIDEST)
    """Width of the feed-forward layer."""
    blocks: int = Field(3, ge=1, le=1000)
    """Number of blocks."""
    tie_embeddings: bool = True
    """Whether what is read has the rows of the output layer; false: it has a table of its own, of which a
    client gets the rows that its data touch."""

    width: ClassVar[str] = "embedding"
    others: ClassVar[tuple[str, ...]] = ("ffn", "blocks")
    along: ClassVar[Mapping[str, tuple[str, ...]]] = {"embedding": ("attention",)}

    @model_validator(mode="after")
    def _check_heads(self) -> "TransformerSettings":
        if self.attention % self.heads:
            raise ValueError(f"heads = {self.heads}: must divide model.attention = {self.attention}")
        return self

    @classmethod
    def of(cls, settings: ModelSettings) -> "TransformerSettings":
        """The settings of some model, for what works with this one alone.

        Raises:
            HashfedError: where they are of another one.

        """
        if not isinstance(settings, cls):
            raise HashfedError(f"model.name = {settings.name}: must be transformer")
        return settings

    def build(self) -> Transformer:
        """See ``Transformer``."""
        return Transformer(
            self.embedding, self.attention, self.heads, self.ffn, self.blocks, self.tie_embeddings
        )

    def smallest(self) -> "TransformerSettings":
        """See ``ModelSettings``."""
        small = {"embedding": 4, "attention": 4, "heads": 1, "ffn": 4, "blocks": 1}
        return self.model_copy(update=small)

    def step(self, size: str) -> int:
        """The width of attention, which grows with the rows', is divided among the heads."""
        return self.heads if size == self.width else 1


def _linear(body: Body, name: str, x: torch.Tensor) -> torch.Tensor:
    return functional.linear(x, body[f"{name}.weight"], body[f"{name}.bias"])


def _norm(body: Body, name: str, x: torch.Tensor) -> torch.Tensor:
    weight = body[f"{name}.weight"]
    return functional.layer_norm(x, weight.shape, weight, body[f"{name}.bias"])


def _feed_forward(body: Body, name: str, x: torch.Tensor) -> torch.Tensor:
    hidden = torch.relu_(_linear(body, f"{name}.in", _norm(body, f"{name}.norm", x)))
    return _linear(body, f"{name}.out", hidden)


def _causal_attention(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
    """Attention of each position to itself and those before; all (sequences, heads, T, width)."""
    sequences, heads, length, width = q.shape
    if length > SHORT:
        return functional.scaled_dot_product_attention(q, k, v, is_causal=True)
    q, k, v = (part.reshape(sequences * heads, length, width) for part in (q, k, v))
    scores = torch.baddbmm(
        _causal_mask(length, q.dtype, q.device), q, k.transpose(1, 2), alpha=1 / math.sqrt(width)
    )
    return torch.bmm(scores.softmax(-1), v).view(sequences, heads, length, width)


@functools.lru_cache
def _causal_mask(length: int, dtype: torch.dtype, device: torch.device) -> torch.Tensor:
    """Zero up to the diagonal and −∞ above, (length, length)."""
    return torch.full((length, length), -math.inf, dtype=dtype, device=device).triu(1)


@functools.lru_cache
def _sinusoids(length: int, dimension: int, device: torch.device) -> torch.Tensor:
    """Sine and cosine positions (length, dimension) of Vaswani et al. 2017, section 3.5."""
    half = (dimension + 1) // 2
    frequency = torch.exp(-math.log(10000.0) / half * torch.arange(half))
    angle = torch.arange(length)[:, None] * frequency
    return torch.cat([angle.sin(), angle.cos()], dim=1)[:, :dimension].to(device)
