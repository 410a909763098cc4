"""What models and losses work on: some examples, with ids as positions in the rows at hand."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property

import torch


@dataclass(frozen=True)
class Targets:
    """The rows of the output table that predictions are to find: a set for each, of one row or several.

    Attributes:
        rows: (q,) int64 positions in the rows at hand, those of one prediction beside each other.
        counts: (p,) int64, how many each prediction has, at least 1 where it is trained on; None where each
            has one, and q = p.
        gains: (q,) float32, what finding each is worth to metrics that ask; None: the same.
        excluded: rows that are no answer to each, to metrics that ask, among all rows; None: every row may be
            one.

    """

    rows: torch.Tensor
    counts: torch.Tensor | None = None
    gains: torch.Tensor | None = None
    excluded: "Targets | None" = None

    def __len__(self) -> int:
        """Number of predictions, p."""
        return len(self.rows) if self.counts is None else len(self.counts)

    @cached_property
    def owners(self) -> torch.Tensor:
        """(q,) int64: the prediction that each row belongs to."""
        if self.counts is None:
            return torch.arange(len(self.rows), device=self.rows.device)
        return torch.repeat_interleave(self.counts)

    def split(self, most: int) -> Iterator["Targets"]:
        """In order, up to ``most`` predictions at a time."""
        if self.counts is None:
            sizes = [len(rows) for rows in self.rows.split(most)]
            counts: Iterable[torch.Tensor | None] = [None] * len(sizes)
        else:
            parts = self.counts.split(most)
            sizes, counts = [int(part.sum()) for part in parts], parts
        gains = [None] * len(sizes) if self.gains is None else self.gains.split(sizes)
        excluded = [None] * len(sizes) if self.excluded is None else self.excluded.split(most)
        yield from map(Targets, self.rows.split(sizes), counts, gains, excluded)


@dataclass(frozen=True)
class Layout:
    """What the columns of a packed batch are made of, so that it can be taken apart by client.

    Attributes:
        owners: the column (i,) that says of which example each item is: a position, or a feature; ascending.
        of_items: columns with a first dimension i.
        of_examples: columns with a first dimension s.
        item_places: of these, columns of 1 + numbers of items; 0 where there is none.
        item_predictions: whether each item has a prediction; else each example.

    """

    owners: str
    of_items: frozenset[str]
    of_examples: frozenset[str]
    item_places: frozenset[str] = frozenset()
    item_predictions: bool = True


@dataclass(frozen=True)
class Batch:
    """Examples that are worked on together.

    Attributes:
        columns: what a model reads, by name.
        tables: which of them are positions in rows, by name the table that has these.
        targets: what its queries are to find.
        noise: what a model with dropout draws from while it trains, on the CPU, for each client; none: it
            drops nothing.
        clients: (C,) int64, how many of the examples are each client's, where they are several clients', one
            after the other; None: of one.
        layout: of the columns, where they were packed for that.

    """

    columns: Mapping[str, torch.Tensor]
    tables: Mapping[str, str]
    targets: Targets
    noise: tuple[torch.Generator, ...] = ()
    clients: torch.Tensor | None = None
    layout: Layout | None = None

    def touched(self, rows: Mapping[str, torch.Tensor]) -> tuple["Batch", dict[str, "TouchedRows"]]:
        """The batch over none but the rows that its columns name, so that a gradient is formed for no others.

        Args:
            rows: (m, d) by table, those at hand.

        """
        columns, found = dict(self.columns), dict[str, TouchedRows]()
        for table in dict.fromkeys(self.tables.values()):
            names = [name for name, of in self.tables.items() if of == table]
            if len(names) == 1:
                index, columns[names[0]] = columns[names[0]].unique(return_inverse=True)
            else:
                flat = torch.cat([columns[name].flatten() for name in names])
                index, places = flat.unique(return_inverse=True)
                sizes = [columns[name].numel() for name in names]
                for name, part in zip(names, places.split(sizes), strict=True):
                    columns[name] = part.view_as(columns[name])
            found[table] = TouchedRows(index, rows[table][index].requires_grad_())
        return replace(self, columns=columns), found


@dataclass(frozen=True)
class TouchedRows:
    """Rows of one table that a batch's columns name.

    Attributes:
        index: (k,) int64 ascending positions in the rows at hand.
        rows: (k, d), a leaf with a gradient after a backward pass; None before, and where no query depends
            on them.

    """

    index: torch.Tensor
    rows: torch.Tensor

    def add_gradient(self, table: torch.Tensor, scale: float) -> None:
        """``table[index] += scale · gradient``; ``table`` is (m, d)."""
        if self.rows.grad is not None:
            table.index_add_(0, self.index, self.rows.grad, alpha=scale)
