"""What a client knows of an encoder before it comes: kind, numbers, types and shapes of arrays.

Whoever sends an encoder may be broken or hostile, and what a client allocates and computes grows with its
numbers; all of them follow from the configuration.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from hashfed.errors import HashfedError
from hashfed.retrieval.checks import Expected, check_arrays


@dataclass(frozen=True)
class EncoderShape:
    """Of every encoder of a run.

    Attributes:
        kind: its kind.
        numbers: its parameters that are integers.
        arrays: types and shape of its parameters that are arrays.
        shorter: whether there may be fewer along the first axis.

    """

    kind: str
    numbers: Mapping[str, int] = field(default_factory=dict)
    arrays: Mapping[str, Expected] = field(default_factory=dict)
    shorter: bool = False

    def check(self, kind: str, numbers: Mapping[str, int], arrays: Mapping[str, np.ndarray]) -> None:
        """Refuse an encoder that is another one.

        Raises:
            HashfedError: where kind, a number, or type or shape of an array differs, or one is not finite.

        """
        self.check_numbers(kind, numbers)
        found = {f"encoder.{name}": value for name, value in arrays.items()}
        expected = {f"encoder.{name}": value for name, value in self.arrays.items()}
        check_arrays(found, expected, self.shorter)

    def check_numbers(self, kind: str, numbers: Mapping[str, int]) -> None:
        """Of these, kind and numbers.

        Raises:
            HashfedError: where one differs.

        """
        if kind != self.kind:
            raise HashfedError(f"encoder = {kind}: must be {self.kind}")
        for name in sorted(set(numbers) | set(self.numbers)):
            if numbers.get(name) != self.numbers.get(name):
                raise HashfedError(
                    f"encoder.{name} = {numbers.get(name, 'none')}: must be {self.numbers.get(name, 'none')}"
                )
