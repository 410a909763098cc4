"""What a client adds to a cohort's sum, and where in one long vector: the same for every client.

A vector of the same length whatever a client holds is what can be summed under masks. It has, in order,

    body.NAME       the weighted change of each parameter of the body
    tables.output   of each row of the layout (common: those of U; all: every row of the table)
    tables.NAME     of every row of an input table
    tail            of the common planes, G (K, d)
    sums, sizes, squares     of the client's queries at each centroid (``hashing.cohort_kmeans``)

as integers of a stated range (``privacy.quantise``), and then ``COUNTS`` as they are, each in two parts.
Changes are multiplied by the client's weight, so that the server divides one sum by another.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch

from hashfed.federated.model_shape import ModelShape
from hashfed.federated.privacy.quantise import Block
from hashfed.models.protocol import OUTPUT

COUNTS = "predictions", "loss", "own", "rows", "bounded", "megaflops", "saturated", "clipped"
"""Of a client: its predictions per epoch, its loss times these in units of ``LOSS_UNIT``, rows that its data
need, rows that it held, predictions with a bounded partition function, floating point operations, numbers of
its vector beyond their range, and whether its update was clipped."""
LOSS_UNIT = 1e-3
"""Nats."""
TABLE = "tables."
BODY = "body."
TAIL = "tail"
POINTS = "sums", "sizes", "squares"


@dataclass(frozen=True)
class SumLayout:
    """Names and shapes in order.

    Attributes:
        shapes: of each part by name.

    """

    shapes: Mapping[str, tuple[int, ...]]

    @classmethod
    def of(cls, shape: ModelShape, rows: int, planes: int) -> "SumLayout":
        """Of a model of which ``rows`` rows of the output table are summed, with K ``planes`` or none."""
        width = shape.dimension
        found: dict[str, tuple[int, ...]] = {
            f"{BODY}{name}": tuple(shape.body[name]) for name in sorted(shape.body)
        }
        found[f"{TABLE}{OUTPUT}"] = (rows, width)
        found |= {f"{TABLE}{name}": shape.inputs[name] for name in sorted(shape.inputs)}
        if planes:
            found[TAIL] = (planes, width)
            found |= dict(zip(POINTS, ((planes, width), (planes,), (planes,)), strict=True))
        return cls(found)

    @cached_property
    def sizes(self) -> np.ndarray:
        """(b,) int64, numbers of each part."""
        return np.array([int(np.prod(shape)) for shape in self.shapes.values()], np.int64)

    @property
    def length(self) -> int:
        """Of the vector, its counts among it."""
        return int(self.sizes.sum()) + 2 * len(COUNTS)

    def blocks(self, ranges: np.ndarray) -> list[Block]:
        """How the parts become integers, with ``ranges`` (b,) > 0."""
        return [Block(size, width) for size, width in zip(self.sizes.tolist(), ranges.tolist(), strict=True)]

    def flatten(self, values: Mapping[str, torch.Tensor]) -> np.ndarray:
        """All parts but the counts, (Σ sizes,) float32."""
        vector = np.empty(int(self.sizes.sum()), np.float32)
        for name, part in self._parts():
            vector[part] = values[name].detach().reshape(-1).cpu().numpy()
        return vector

    def split(self, vector: np.ndarray) -> dict[str, torch.Tensor]:
        """The parts of what ``flatten`` gave, or of a sum of such, by name."""
        return {
            name: torch.from_numpy(vector[part]).reshape(self.shapes[name]) for name, part in self._parts()
        }

    def largest(self, vector: np.ndarray) -> np.ndarray:
        """The largest magnitude in each part, (b,) float64."""
        return np.array([np.abs(vector[part]).max(initial=0.0) for _, part in self._parts()], np.float64)

    def _parts(self) -> Iterator[tuple[str, slice]]:
        start = 0
        for name, size in zip(self.shapes, self.sizes.tolist(), strict=True):
            yield name, slice(start, start + size)
            start += size


def split_counts(counts: Mapping[str, int], bits: int) -> np.ndarray:
    """Counts as ``2 × len(COUNTS)`` integers from 0 to 2^(bits − 1) − 1; larger ones at their most."""
    base = 1 << (bits - 1)
    whole = np.array([min(counts[name], base * base - 1) for name in COUNTS], np.int64)
    return np.stack([whole % base, whole // base], 1).reshape(-1)


def join_counts(summed: np.ndarray, bits: int) -> dict[str, int]:
    """What clients' counts add up to, from the sum of what ``split_counts`` gave."""
    base = 1 << (bits - 1)
    low, high = summed.reshape(-1, 2).T
    return dict(zip(COUNTS, (low + base * high).tolist(), strict=True))
