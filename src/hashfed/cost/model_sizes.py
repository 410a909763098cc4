"""Sizes of a model from its configuration: parameters by shape, and floats of a forward pass."""

from dataclasses import dataclass, field

import numpy as np

from hashfed.cost.trial import trial_floats
from hashfed.models import Model
from hashfed.randomness import stream
from hashfed.tasks.protocol import Task


@dataclass(frozen=True)
class ModelSizes:
    """A model's sizes.

    Attributes:
        model: its functions.
        task: what it is trained for.
        body: shape of each parameter below the output layer.

    """

    model: Model
    task: Task
    body: dict[str, tuple[int, ...]]
    _found: dict[tuple[int, int, int, bool], int] = field(default_factory=dict, repr=False, compare=False)

    @classmethod
    def of(cls, model: Model, task: Task) -> "ModelSizes":
        """The sizes of ``model``, from a fresh body."""
        body = model.init(1, stream(0, "sizes")).body
        return cls(model, task, {name: tuple(value.shape) for name, value in body.items()})

    @property
    def dimension(self) -> int:
        """Length d of a row."""
        return self.model.dimension

    @property
    def body_parameters(self) -> int:
        """Numbers in the body."""
        return sum(int(np.prod(shape)) for shape in self.body.values())

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
