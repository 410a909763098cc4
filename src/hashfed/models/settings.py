"""What every model's settings say of it, for those who know no model."""

from abc import abstractmethod
from collections.abc import Mapping
from typing import ClassVar, Self

from hashfed.models.protocol import Model
from hashfed.settings import Settings


class ModelSettings(Settings):
    """The model and its sizes."""

    name: str
    """Which model."""

    width: ClassVar[str]
    """The field that is the length of a row."""
    longest: ClassVar[str | None] = None
    """The field that is the most positions of an example that it reads; None: it reads any number."""
    others: ClassVar[tuple[str, ...]] = ()
    """Further fields that a device with more memory could make larger, one by one."""
    along: ClassVar[Mapping[str, tuple[str, ...]]] = {}
    """By such a field, those that grow with it, to the same value."""

    @property
    def dimension(self) -> int:
        """d, the length of a row."""
        return int(getattr(self, self.width))

    @abstractmethod
    def build(self) -> Model:
        """The model."""

    def smallest(self) -> Self:
        """One of these functions that trains at once: its work is what any model's leaves in a process."""
        return self

    def grown(self, size: str, value: int) -> Self:
        """With another value of a size, and of those that grow along with it."""
        return self.model_copy(update=dict.fromkeys((size, *self.along.get(size, ())), value))

    def step(self, size: str) -> int:
        """What a size must be a multiple of."""
        return 1
