"""Floats that a model's forward pass holds, counted on a trial run: for models that do not say."""

import weakref
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from hashfed.models import Model
from hashfed.models.protocol import as_named
from hashfed.tasks.examples import BoundExamples
from hashfed.tasks.protocol import Task

TRIED = 4
"""Examples of a trial run: what a pass holds grows in proportion to the examples."""


def trial_floats(
    model: Model,
    shapes: Mapping[str, tuple[int, ...]],
    task: Task,
    positions: int,
    examples: int,
    length: int,
    backward: bool,
) -> int:
    """Most floats held at once by ``model.queries``, parameters and rows left out.

    Args:
        model: its functions.
        shapes: of its body's parameters.
        task: imagines examples.
        positions: p, predicted ones, taken to be spread evenly over the examples.
        examples: s.
        length: T, positions of each example.
        backward: whether intermediate results are kept for a backward pass.

    """
    some = min(examples, TRIED)
    # A model may do without packing where every position is predicted: full stays full, and only full.
    full = positions == examples * length
    share = some * length if full else min(-(-positions * some // examples), some * length - 1)
    one = as_named(model, dict.fromkeys(model.tables, np.arange(1)))
    imagined = task.imagine(some, length, share).bind(one, torch.device("cpu"))
    body = {name: torch.zeros(shape) for name, shape in shapes.items()}
    tables = {name: torch.zeros(1, width) for name, width in model.tables.items()}
    held = _held(model, body, tables, imagined, some, backward)
    return -(-held * examples // some)


def _held(
    model: Model,
    body: dict[str, torch.Tensor],
    rows: dict[str, torch.Tensor],
    examples: BoundExamples,
    count: int,
    backward: bool,
) -> int:
    """Floats held by one pass over these examples."""
    tables = as_named(model, rows)
    if not backward:
        batch = model.pack(examples.batch(torch.arange(count)))
        live = _Live()
        with torch.no_grad():
            # What a model makes once and keeps, such as a table of positions, is not counted.
            model.queries(body, tables, model.pack(examples.batch(torch.arange(1))))
            with live:
                model.queries(body, tables, batch)
        return live.most_floats
    batch = model.pack(replace(examples.batch(torch.arange(count)), noise=(torch.Generator(),)))
    parameters = [value.requires_grad_() for value in (*rows.values(), *body.values())]
    with _kept() as kept:
        queries = model.queries(body, tables, batch)
    for value in parameters:
        kept.pop(value.untyped_storage().data_ptr(), None)
    return sum(kept.values()) + queries.numel()


@contextmanager
def _kept() -> Iterator[dict[int, int]]:
    """Floats of each piece of memory that autograd keeps, by its address."""
    kept: dict[int, int] = {}

    def keep(value: torch.Tensor) -> torch.Tensor:
        if value.is_floating_point():
            kept[value.untyped_storage().data_ptr()] = _floats(value)
        return value

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda value: value):
        yield kept


class _Live(TorchDispatchMode):
    """Counts the floats of all tensors made in this block that are still there.

    Attributes:
        most_floats: at one time, so far.

    """

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.most_floats: int = 0
        self._now = 0
        self._users: Counter[int] = Counter()

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        before = {value.untyped_storage().data_ptr() for value in tree_leaves(args) if _counts(value)}
        result = func(*args, **(kwargs or {}))
        for value in tree_leaves(result):
            if not _counts(value):
                continue
            address = value.untyped_storage().data_ptr()
            if self._users[address] == 0:
                if address in before:  # a view of a parameter
                    continue
                self._now += _floats(value)
            self._users[address] += 1
            weakref.finalize(value, self._forget, address, _floats(value))
        self.most_floats = max(self.most_floats, self._now)
        return result

    def _forget(self, address: int, floats: int) -> None:
        self._users[address] -= 1
        if self._users[address] == 0:
            self._now -= floats


def _counts(value: Any) -> bool:
    return isinstance(value, torch.Tensor) and value.is_floating_point()


def _floats(value: torch.Tensor) -> int:
    """Of the memory behind a tensor, which may be a view."""
    return value.untyped_storage().nbytes() // value.element_size()
