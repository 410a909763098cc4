"""What a trained run is asked: one example, and which rows may answer."""

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from hashfed.tasks.examples import Examples


@dataclass(frozen=True)
class Prompt:
    """A task's reading of the words after ``hashfed predict RUN``.

    Attributes:
        examples: one; its last prediction is asked for.
        text: what a row is called.
        excluded: ids of rows that are no answer; they keep their share of the probability.
        notes: lines about what of the words was not understood.

    """

    examples: Examples
    text: Callable[[int], str]
    excluded: np.ndarray = field(default_factory=lambda: np.empty(0, np.int64))
    notes: tuple[str, ...] = ()
