"""A client and a model whose sizes are said, for costs by hand."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch

from hashfed.cost.model_sizes import ModelSizes
from hashfed.cost.workload import Workload
from hashfed.models import Model


@dataclass(frozen=True)
class Lookup(Model):
    """A model whose queries are the rows of the inputs, scaled."""

    tables: ClassVar = {"output": 2}

    def init(self, sizes: Mapping[str, int], rng: np.random.Generator) -> Any:
        raise AssertionError("not needed")

    def body_shapes(self) -> dict[str, tuple[int, ...]]:
        raise AssertionError("not needed")

    def queries(self, *_: Any) -> torch.Tensor:
        raise AssertionError("not needed")

    def body_flops(self, positions: int, examples: int, length: int) -> int:
        return 0


class SaidSizes(ModelSizes):
    """Whose activations are said, not tried."""

    def activation_floats(self, positions: int, examples: int, length: int, backward: bool) -> int:
        return 100 * positions + 10 * examples + length + (1000 if backward else 0)


def workload(own: int) -> Workload:
    return Workload(
        client="hand",
        examples=70,
        length=5,
        predictions=200,
        own=np.arange(own),
        step_positions=8,
        step_examples=2,
        steps=35,
        hash_positions=190,
        hash_examples=64,
    )
