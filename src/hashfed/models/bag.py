"""The common model of extreme classification: a bag of features, one hidden layer, labels.

As in SLIDE (Chen et al. 2020) and PGHash: sparse features, 128 ReLU, softmax. The first layer is the table
``input`` with a row for each feature, the second the table ``output`` with a row for each label; neither
needs more rows than a client's data touch or than it is to be trained on. The hidden layer's bias is the
body. The output layer has no bias, as no output layer of hashfed has: with SLIDE's it would be one more
number a row.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import ClassVar, Literal

import numpy as np
import torch
from pydantic import Field
from torch.nn import functional

from hashfed.models.batch import Batch, Layout
from hashfed.models.protocol import INPUT, OUTPUT, Model, Parameters
from hashfed.models.settings import ModelSettings

WIDEST = 2**24
"""Of the hidden layer: far beyond any machine, but no number of bytes that overflows."""
DEVIATION = 0.01
"""Of all weights and biases in the beginning, as in SLIDE's published code."""


@dataclass(frozen=True)
class Bag(Model):
    """Queries are ReLU(Σ value · input row + bias).

    Attributes:
        hidden: d, width of the hidden layer and of both tables.

    """

    hidden: int = 128

    @property
    def tables(self) -> dict[str, int]:
        """See ``Model``."""
        return {OUTPUT: self.hidden, INPUT: self.hidden}

    @property
    def reads(self) -> tuple[str, ...]:
        """See ``Model``: sets of features (``tasks.label_sets``)."""
        return ("features", "values", "starts")

    def init(self, sizes: Mapping[str, int], rng: np.random.Generator) -> Parameters:
        """Normal numbers of standard deviation 0.01."""

        def drawn(*shape: int) -> torch.Tensor:
            return torch.from_numpy(rng.standard_normal(shape, dtype=np.float32) * np.float32(DEVIATION))

        tables = {name: drawn(sizes[name], width) for name, width in self.tables.items()}
        return Parameters(tables, {"bias": drawn(self.hidden)})

    def body_shapes(self) -> dict[str, tuple[int, ...]]:
        """See ``Model``."""
        return {"bias": (self.hidden,)}

    @property
    def stackable(self) -> bool:
        """See ``Model``."""
        return True

    def pack(self, batch: Batch, stacked: bool = False) -> Batch:
        """Stacked with a column ``owners`` (f,) int64, the example of each feature."""
        if not stacked:
            return batch
        features, starts = batch.columns["features"], batch.columns["starts"]
        ends = torch.cat([starts[1:], starts.new_tensor([len(features)])])
        columns = {**batch.columns, "owners": torch.repeat_interleave(ends - starts)}
        layout = Layout(
            "owners",
            frozenset({"features", "values", "owners"}),
            frozenset({"starts"}),
            item_predictions=False,
        )
        return replace(batch, columns=columns, layout=layout)

    def queries(
        self, body: Mapping[str, torch.Tensor], tables: Mapping[str, torch.Tensor], batch: Batch
    ) -> torch.Tensor:
        """See ``Model``; an example without features has the bias alone."""
        features, values, starts = (batch.columns[name] for name in self.reads)
        rows = tables[batch.tables["features"]]
        values = values.to(rows.dtype)
        if "owners" in batch.columns:
            weighted = functional.embedding(features, rows) * values[:, None]
            summed = weighted.new_zeros(len(starts), self.hidden)
            summed = summed.index_add(0, batch.columns["owners"], weighted)
        else:
            summed = functional.embedding_bag(features, rows, starts, mode="sum", per_sample_weights=values)
        return torch.relu(summed + body["bias"])

    def body_flops(self, positions: int, examples: int, length: int) -> int:
        """2 per number of an input row and feature, and the bias and ReLU."""
        return 2 * self.hidden * (examples * length + positions)


class BagSettings(ModelSettings):
    """A bag of features, a hidden layer and labels."""

    name: Literal["bag"] = "bag"
    hidden: int = Field(128, ge=1, le=WIDEST)
    """d, width of the hidden layer, of the rows of features and of those of labels."""

    width: ClassVar[str] = "hidden"

    def build(self) -> Bag:
        """See ``Bag``."""
        return Bag(self.hidden)

    def smallest(self) -> "BagSettings":
        """See ``ModelSettings``."""
        return self.model_copy(update={"hidden": 4})
