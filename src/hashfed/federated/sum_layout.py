"""What a client adds to a cohort's sum, and where in one long vector: the same for every client.

A vector of the same length whatever a client holds is what can be summed under masks. It has, in order,

    body.NAME       the weighted change of each parameter of the body
    tables.output   of each row of the layout (common: those of U; all: every row of the table)
    tables.NAME     of every row of an input table
    tail            of the common planes, G (K, d)
    sums, sizes, squares     of the client's queries at each centroid (``hashing.cohort_kmeans``)

as integers of a stated range (``privacy.quantise``), and then counts as they are, each cut into digits.
Changes are multiplied by the client's weight, so that the server divides one sum by another.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch

from hashfed.federated.model_shape import ModelShape
from hashfed.federated.privacy.quantise import Block, dequantise, quantise
from hashfed.models.protocol import OUTPUT

COUNTS = "predictions", "loss", "own", "rows", "parameters", "bounded", "megaflops", "clipped", "diverged"
"""Of a client: its predictions per epoch, its loss times these in units of ``LOSS_UNIT``, rows that its data
need, rows and numbers that it held, predictions with a bounded partition function, floating point
operations, and whether its update was clipped, and whether its training diverged and it adds nothing.
Besides them ``saturated.PART``: numbers of each part beyond its range."""
LOSS_UNIT = 1e-3
"""Nats."""
COUNT_BITS = 40
"""Of a count of one client; larger ones are taken at their most."""
TABLE = "tables."
BODY = "body."
TAIL = "tail"
POINTS = "sums", "sizes", "squares"
SATURATED = "saturated."


@dataclass(frozen=True)
class SumLayout:
    """Names and shapes in order.

    Attributes:
        shapes: of each part by name.
        bits: of a number that a client adds.

    """

    shapes: Mapping[str, tuple[int, ...]]
    bits: int

    @classmethod
    def of(cls, shape: ModelShape, rows: int, planes: int, bits: int) -> "SumLayout":
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
        return cls(found, bits)

    @cached_property
    def parts(self) -> dict[str, slice]:
        """Where each part is."""
        found, start = {}, 0
        for name, shape in self.shapes.items():
            end = start + math.prod(shape)
            found[name] = slice(start, end)
            start = end
        return found

    @property
    def counts(self) -> list[str]:
        """Names of all counts, in order."""
        return [*COUNTS, *(f"{SATURATED}{name}" for name in self.shapes)]

    @property
    def digits(self) -> int:
        """Numbers that a count is cut into."""
        return -(-COUNT_BITS // (self.bits - 1))

    @property
    def reals(self) -> int:
        """Numbers of all parts, without the counts."""
        return sum(math.prod(shape) for shape in self.shapes.values())

    @property
    def length(self) -> int:
        """Of the vector."""
        return self.reals + self.digits * len(self.counts)

    def write(
        self,
        values: dict[str, torch.Tensor],
        counts: Mapping[str, int],
        ranges: np.ndarray,
        rng: np.random.Generator,
    ) -> np.ndarray:
        """A client's vector, (length,) int32.

        Args:
            values: by part; each is let go once it is written.
            counts: by name of ``COUNTS``.
            ranges: (b,) float64 > 0, by part.
            rng: of the rounding.

        Raises:
            ClientDivergedError: where a number is not finite.

        """
        vector, told = np.empty(self.length, np.int32), dict(counts)
        for (name, part), most in zip(self.parts.items(), ranges.tolist(), strict=True):
            numbers = values.pop(name).detach().reshape(-1).cpu().numpy()
            rounded = quantise(numbers, [Block(len(numbers), most)], self.bits, rng)
            vector[part], told[f"{SATURATED}{name}"] = rounded.numbers, rounded.clipped
        vector[self.reals :] = self._cut(told)
        return vector

    def read(self, total: np.ndarray, ranges: np.ndarray) -> tuple[np.ndarray, dict[str, int]]:
        """What clients' vectors add up to.

        Args:
            total: (length,) int32 their sum.
            ranges: as they had them.

        Returns:
            (reals,) float32, and counts by name.

        """
        numbers = np.empty(self.reals, np.float32)
        for part, most in zip(self.parts.values(), ranges.tolist(), strict=True):
            numbers[part] = dequantise(total[part], [Block(part.stop - part.start, most)], self.bits)
        return numbers, self._joined(total[self.reals :])

    def split(self, numbers: np.ndarray) -> dict[str, torch.Tensor]:
        """The parts of what ``read`` gave, by name."""
        return {
            name: torch.from_numpy(numbers[part]).reshape(self.shapes[name])
            for name, part in self.parts.items()
        }

    def largest(self, numbers: np.ndarray) -> np.ndarray:
        """The largest magnitude in each part of it, (b,) float64."""
        return np.array([np.abs(numbers[part]).max(initial=0.0) for part in self.parts.values()], np.float64)

    def _cut(self, counts: Mapping[str, int]) -> np.ndarray:
        """Counts as digits from 0 to 2^(bits − 1) − 1, the lowest first."""
        shift, most = self.bits - 1, (1 << (self.bits - 1) * self.digits) - 1
        whole = np.array([min(counts[name], most) for name in self.counts], np.int64)
        return np.stack(
            [whole >> (shift * place) & ((1 << shift) - 1) for place in range(self.digits)], 1
        ).ravel()

    def _joined(self, summed: np.ndarray) -> dict[str, int]:
        digits = summed.astype(np.int64).reshape(-1, self.digits)
        weights = 1 << (np.arange(self.digits, dtype=np.int64) * (self.bits - 1))
        return dict(zip(self.counts, (digits @ weights).tolist(), strict=True))
