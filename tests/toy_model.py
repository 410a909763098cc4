"""A model that no file of hashfed knows: the sum of input rows, chosen by name.

CONTRIBUTING.md shows its settings as the example of a new model.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np
import torch
from pydantic import Field

from hashfed.models import INPUT, OUTPUT, Batch, Model, ModelSettings, Parameters


@dataclass(frozen=True)
class Toy(Model):
    """Queries are sums of the rows of features, times their values, and a bias."""

    size: int

    @property
    def tables(self) -> dict[str, int]:
        return {OUTPUT: self.size, INPUT: self.size}

    def init(self, sizes: Mapping[str, int], rng: np.random.Generator) -> Parameters:
        rows = {name: rng.standard_normal((sizes[name], self.size), dtype=np.float32) for name in self.tables}
        tables = {name: torch.from_numpy(table) for name, table in rows.items()}
        return Parameters(tables, {"bias": torch.zeros(self.size)})

    def body_shapes(self) -> dict[str, tuple[int, ...]]:
        return {"bias": (self.size,)}

    def queries(
        self, body: Mapping[str, torch.Tensor], tables: Mapping[str, torch.Tensor], batch: Batch
    ) -> torch.Tensor:
        features, values, starts = (batch.columns[name] for name in ("features", "values", "starts"))
        rows = tables[batch.tables["features"]]
        summed = torch.nn.functional.embedding_bag(
            features, rows, starts, mode="sum", per_sample_weights=values
        )
        return summed + body["bias"]

    def body_flops(self, positions: int, examples: int, length: int) -> int:
        return self.size * (2 * examples * length + positions)


class ToySettings(ModelSettings):
    """The sum of a set's rows."""

    name: Literal["toy"] = "toy"
    size: int = Field(6, ge=1)
    """d, width of rows."""

    width: ClassVar[str] = "size"

    def build(self) -> Toy:
        return Toy(self.size)
