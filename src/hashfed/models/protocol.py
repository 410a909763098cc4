"""What a model is to hashfed: tables of rows, a body, and a function from data to queries."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol, TypeVar

import numpy as np
import torch

from hashfed.models.batch import Batch

OUTPUT = "output"
"""The name of the table whose rows are multiplied with queries."""
INPUT = "input"
"""The usual name of the table whose rows a model reads."""

Held = TypeVar("Held")


@dataclass(frozen=True)
class Parameters:
    """All parameters of a model.

    Attributes:
        tables: float32 by name, (n, d) of ``output`` first; of what is tied there is one.
        body: every other parameter by name, float32.

    """

    tables: dict[str, torch.Tensor]
    body: dict[str, torch.Tensor]

    @property
    def rows(self) -> torch.Tensor:
        """(n, d), those of the output layer."""
        return self.tables[OUTPUT]

    @property
    def inputs(self) -> dict[str, torch.Tensor]:
        """All other tables, by name."""
        return {name: table for name, table in self.tables.items() if name != OUTPUT}

    @property
    def sizes(self) -> dict[str, int]:
        """Numbers of rows by table."""
        return {name: len(table) for name, table in self.tables.items()}

    def clone(self) -> "Parameters":
        """A copy that shares no memory."""
        return self._mapped(torch.Tensor.clone)

    def to(self, device: str) -> "Parameters":
        """On a device: this object where it is there already, else a copy."""
        return self._mapped(lambda value: value.to(device))

    def named(self) -> dict[str, torch.Tensor]:
        """All tensors by name: ``tables.…`` and ``body.…``."""
        return {f"tables.{name}": value for name, value in self.tables.items()} | {
            f"body.{name}": value for name, value in self.body.items()
        }

    def _mapped(self, of: Callable[[torch.Tensor], torch.Tensor]) -> "Parameters":
        return Parameters(
            {name: of(value) for name, value in self.tables.items()},
            {name: of(value) for name, value in self.body.items()},
        )


class Model(Protocol):
    """A pair of pure functions, ``init`` and ``queries``; it holds sizes, never parameters.

    The logits are ``queries @ rows.T``, of the rows of the output table.
    """

    @property
    def tables(self) -> Mapping[str, int]:
        """Lengths of rows by table; d, also that of queries, of ``output``, which comes first."""
        ...

    @property
    def tied(self) -> Mapping[str, str]:
        """Tables that examples name and the model has not, by the one that is in their place."""
        return {}

    @property
    def reads(self) -> tuple[str, ...]:
        """Columns of a batch without which it cannot work, as far as it says."""
        return ()

    @property
    def dimension(self) -> int:
        """d, the length of the output table's rows and of queries."""
        return self.tables[OUTPUT]

    def init(self, sizes: Mapping[str, int], rng: np.random.Generator) -> Parameters:
        """Fresh parameters with so many rows by table; those of tables that it has not do not matter."""
        ...

    def body_shapes(self) -> dict[str, tuple[int, ...]]:
        """Shapes of ``Parameters.body`` by name, without drawing any."""
        ...

    @property
    def stackable(self) -> bool:
        """Whether ``queries`` can be mapped over many clients' batches at once (``pack``)."""
        return False

    def pack(self, batch: Batch, stacked: bool = False) -> Batch:
        """A batch as ``queries`` takes it: all that depends on what the data are, random draws among it.

        Args:
            batch: as examples make it.
            stacked: whether the batch will be taken apart by client (its ``layout`` says how), and each
                client's columns padded with zeros, at the end of each dimension, to the longest; queries
                of a ``stackable`` model must then be those of each client alone, whatever is behind them.

        """
        return batch

    def queries(
        self, body: Mapping[str, torch.Tensor], tables: Mapping[str, torch.Tensor], batch: Batch
    ) -> torch.Tensor:
        """Queries, one for each prediction.

        Args:
            body: as ``Parameters.body``.
            tables: (m, d) by name, the rows that the batch's columns refer to, tied ones also by the other
                name: all n, a client's, or just those that the batch names (in training: a gradient is
                formed for no others).
            batch: columns of positions in them, not of ids, as ``pack`` returned them.

        Returns:
            (p, d), in the order of ``batch.targets``.

        """
        ...

    def body_flops(self, positions: int, examples: int, length: int) -> int:
        """Floating-point operations of one forward pass of the body (a multiply-add counts two)."""
        ...


def as_named(model: Model, held: Mapping[str, Held]) -> dict[str, Held]:
    """What is held of each table, by all names that examples may have for it."""
    return {**held, **{name: held[table] for name, table in model.tied.items()}}


def names_of(model: Model, table: str) -> tuple[str, ...]:
    """The names that examples may have for a table."""
    return (table, *(name for name, of in model.tied.items() if of == table))


def input_tables(model: Model) -> list[str]:
    """Names of the model's tables besides ``output``."""
    return [name for name in model.tables if name != OUTPUT]
