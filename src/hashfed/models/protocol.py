"""What a model is to hashfed: rows, a body, and a function from data to queries."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch

from hashfed.models.batch import Batch

OUTPUT = "output"
"""The name of the table whose rows are multiplied with queries."""


@dataclass(frozen=True)
class Parameters:
    """All parameters of a model.

    Attributes:
        rows: (n, d) float32, the output layer; with tied embeddings also the input table.
        body: every other parameter by name, float32.

    """

    rows: torch.Tensor
    body: dict[str, torch.Tensor]

    def clone(self) -> "Parameters":
        """A copy that shares no memory."""
        return Parameters(self.rows.clone(), {name: value.clone() for name, value in self.body.items()})

    def to(self, device: str) -> "Parameters":
        """On a device: this object where it is there already, else a copy."""
        body = {name: value.to(device) for name, value in self.body.items()}
        return Parameters(self.rows.to(device), body)

    def named(self) -> dict[str, torch.Tensor]:
        """All tensors by name: ``rows`` and ``body.…``."""
        return {"rows": self.rows} | {f"body.{name}": value for name, value in self.body.items()}


class Model(Protocol):
    """A pair of pure functions, ``init`` and ``queries``; it holds sizes, never parameters.

    The logits are ``queries @ rows.T``.
    """

    @property
    def dimension(self) -> int:
        """d, the length of rows and queries."""
        ...

    def init(self, size: int, rng: np.random.Generator) -> Parameters:
        """Fresh parameters with ``size`` rows."""
        ...

    def body_shapes(self) -> dict[str, tuple[int, ...]]:
        """Shapes of ``Parameters.body`` by name, without drawing any."""
        ...

    def queries(
        self, body: Mapping[str, torch.Tensor], tables: Mapping[str, torch.Tensor], batch: Batch
    ) -> torch.Tensor:
        """Queries, one for each prediction.

        Args:
            body: as ``Parameters.body``.
            tables: (m, d) by name, the rows that the batch's columns refer to: all n, a client's selection,
                or just those that the batch names (in training: a gradient is formed for no others).
            batch: columns of positions in them, not of ids.

        Returns:
            (p, d), in the order of ``batch.targets``.

        """
        ...

    def body_flops(self, positions: int, examples: int, length: int) -> int:
        """Floating-point operations of one forward pass of the body (a multiply-add counts two)."""
        ...
