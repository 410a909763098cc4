"""Numbers of rows and shapes of a model: what both sides know before any message."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from hashfed.models.protocol import OUTPUT, Model


@dataclass(frozen=True)
class ModelShape:
    """What both sides know of the model.

    Attributes:
        tables: numbers of rows and their lengths by name, (n, d) of ``output``.
        body: shapes of the other parameters by name.

    """

    tables: Mapping[str, tuple[int, int]]
    body: Mapping[str, Sequence[int]]

    @classmethod
    def of(cls, model: Model, sizes: Mapping[str, int]) -> "ModelShape":
        """Of a model with so many rows by table."""
        tables = {name: (sizes[name], width) for name, width in model.tables.items()}
        return cls(tables, model.body_shapes())

    @property
    def size(self) -> int:
        """N."""
        return self.tables[OUTPUT][0]

    @property
    def dimension(self) -> int:
        """D."""
        return self.tables[OUTPUT][1]

    @property
    def sizes(self) -> dict[str, int]:
        """Numbers of rows by table."""
        return {name: size for name, (size, _) in self.tables.items()}

    @property
    def inputs(self) -> dict[str, tuple[int, int]]:
        """Those of the other tables."""
        return {name: shape for name, shape in self.tables.items() if name != OUTPUT}

    @property
    def parameters(self) -> int:
        """All numbers of the model."""
        return sum(math.prod(shape) for shape in self.tables.values()) + self.body_parameters

    @property
    def body_parameters(self) -> int:
        """Those of the body."""
        return sum(math.prod(shape) for shape in self.body.values())
