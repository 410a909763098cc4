"""Sizes of a model from its configuration: parameters by shape, and floats of a forward pass."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from hashfed.engines.trial import trial_floats
from hashfed.models import Model
from hashfed.models.protocol import input_tables
from hashfed.tasks.protocol import Task


@dataclass(frozen=True)
class ModelSizes:
    """A model's sizes.

    Attributes:
        model: its functions.
        task: what it is trained for.
        body: shape of each parameter below the output layer.
        inputs: rows and their length by input table.

    """

    model: Model
    task: Task
    body: dict[str, tuple[int, ...]]
    inputs: dict[str, tuple[int, int]] = field(default_factory=dict)
    _found: dict[tuple[int, int, int, bool], int] = field(default_factory=dict, repr=False, compare=False)

    @classmethod
    def of(cls, model: Model, task: Task, sizes: Mapping[str, int]) -> "ModelSizes":
        """The sizes of ``model`` with so many rows by table."""
        inputs = {name: (sizes[name], model.tables[name]) for name in input_tables(model)}
        return cls(model, task, model.body_shapes(), inputs)

    @property
    def dimension(self) -> int:
        """Length d of a row."""
        return self.model.dimension

    @property
    def body_parameters(self) -> int:
        """Numbers in the body."""
        return sum(int(np.prod(shape)) for shape in self.body.values())

    def input_parameters(self, touched: Mapping[str, int]) -> int:
        """Numbers in so many rows by input table."""
        return sum(count * self.inputs[name][1] for name, count in touched.items())

    def activation_floats(self, positions: int, examples: int, length: int, backward: bool) -> int:
        """Most floats that a forward pass holds at once, parameters and rows left out, as on a trial run.

        Args:
            positions: p, predicted ones.
            examples: s.
            length: T, positions of each example.
            backward: whether intermediate results are kept for a backward pass.

        """
        key = positions, examples, length, backward
        if key not in self._found:
            self._found[key] = trial_floats(self.model, self.body, self.task, *key)
        return self._found[key]
