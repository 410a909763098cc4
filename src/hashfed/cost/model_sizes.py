"""Sizes of a model from its configuration: parameters by shape, and floats of a forward pass."""

from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

import numpy as np

from hashfed.cost.trial import trial_floats
from hashfed.models import Model
from hashfed.randomness import stream


@runtime_checkable
class SaysActivations(Protocol):
    """A model that knows what its forward pass holds."""

    def activation_floats(self, positions: int, sentences: int, length: int, backward: bool) -> int:
        """Most floats held at once, parameters and rows left out.

        Args:
            positions: p, predicted ones.
            sentences: s.
            length: T, positions of each sentence.
            backward: whether intermediate results are kept for a backward pass.

        """
        ...


@dataclass(frozen=True)
class ModelSizes:
    """A model's sizes.

    Attributes:
        model: its functions.
        body: shape of each parameter below the output layer.

    """

    model: Model
    body: dict[str, tuple[int, ...]]
    _found: dict[tuple[int, int, int, bool], int] = field(default_factory=dict, repr=False, compare=False)

    @classmethod
    def of(cls, model: Model) -> "ModelSizes":
        """The sizes of ``model``, from a fresh body."""
        body = model.init(1, stream(0, "sizes")).body
        return cls(model, {name: tuple(value.shape) for name, value in body.items()})

    @property
    def dimension(self) -> int:
        """Length d of a row."""
        return self.model.dimension

    @property
    def body_parameters(self) -> int:
        """Numbers in the body."""
        return sum(int(np.prod(shape)) for shape in self.body.values())

    def activation_floats(self, positions: int, sentences: int, length: int, backward: bool) -> int:
        """As ``SaysActivations``; of a model that does not say, on a trial run."""
        if isinstance(self.model, SaysActivations):
            return self.model.activation_floats(positions, sentences, length, backward)
        key = positions, sentences, length, backward
        if key not in self._found:
            self._found[key] = trial_floats(self.model, self.body, *key)
        return self._found[key]
