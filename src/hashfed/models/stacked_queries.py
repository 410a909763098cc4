"""A model's queries for several clients at once: its function of one client, mapped over them."""

from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel

from hashfed.models.batch import Batch, Targets
from hashfed.models.protocol import Model
from hashfed.models.stacked_batch import StackedBatch

NO_TARGETS = Targets(torch.empty(0, dtype=torch.int64))
"""Of a batch whose targets a model is not to see."""


@dataclass(frozen=True)
class NamedRows:
    """The rows that a batch's columns name, one for each place, so that their number is known beforehand.

    Attributes:
        tables: by column, the model's table.
        index: (C, k) int64 by column, positions in that table.
        rows: (C, k, w) by column, copies.

    """

    tables: dict[str, str]
    index: dict[str, torch.Tensor]
    rows: dict[str, torch.Tensor]

    @classmethod
    def of(cls, model: Model, batch: StackedBatch, tables: Mapping[str, torch.Tensor]) -> "NamedRows":
        """Those of ``tables``, (C, m, w) by name, of each client for itself, or (m, w), the same for all."""
        found = cls({}, {}, {})
        for column, name in batch.tables.items():
            found.tables[column] = model.tied.get(name, name)
            table, index = tables[found.tables[column]], batch.columns[column].flatten(1)
            found.index[column] = index
            if table.dim() == 2:
                found.rows[column] = table[index]
            else:
                found.rows[column] = table.gather(1, index[:, :, None].expand(-1, -1, table.shape[2]))
        return found

    def add_gradients(self, tables: Mapping[str, torch.Tensor], scale: float) -> None:
        """Add ``scale`` times the rows' gradients to tables like those that they came from, in place."""
        for column, rows in self.rows.items():
            if rows.grad is None:
                continue
            table, index = tables[self.tables[column]], self.index[column]
            if table.dim() == 3:
                index = index + torch.arange(len(index), device=index.device)[:, None] * table.shape[1]
                table = table.view(-1, table.shape[2])
            table.index_add_(0, index.flatten(), rows.grad.flatten(0, 1), alpha=scale)


def stacked_queries(
    model: Model, body: Mapping[str, torch.Tensor], named: NamedRows, batch: StackedBatch
) -> torch.Tensor:
    """Queries (C, p, d) of all clients.

    Args:
        model: ``stackable``.
        body: by name, (C, …) of each client, or as ``Parameters.body``, the same for all.
        named: the rows that the batch names.
        batch: packed to be stacked.

    """
    shapes = model.body_shapes()
    apart = {name: value.dim() > len(shapes[name]) for name, value in body.items()}
    places = {
        column: torch.arange(index.shape[1], device=index.device).view(batch.columns[column].shape[1:])
        for column, index in named.index.items()
    }
    others = {column: value for column, value in batch.columns.items() if column not in places}
    of_column = {column: column for column in named.rows}

    def one(
        body: dict[str, torch.Tensor], rows: dict[str, torch.Tensor], columns: dict[str, torch.Tensor]
    ) -> torch.Tensor:
        return model.queries(body, rows, Batch({**columns, **places}, of_column, NO_TARGETS))

    dimensions = ({name: 0 if its_own else None for name, its_own in apart.items()}, 0, 0)
    with _mappable(batch.targets.rows.device):
        found: torch.Tensor = torch.func.vmap(one, in_dims=dimensions)(dict(body), named.rows, others)
    return found


def _mappable(device: torch.device) -> AbstractContextManager[None]:
    """On a CPU, attention of long sequences by plain products: torch cannot map its kernel for them."""
    return sdpa_kernel(SDPBackend.MATH) if device.type == "cpu" else nullcontext()
