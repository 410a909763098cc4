"""What a task's things are called, and how its numbers read: for tables and pages, which know no task."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

Floors = Mapping[str, float]
"""What ``Task.measure_floors`` gave."""


@dataclass(frozen=True)
class Measure:
    """A metric.

    Attributes:
        key: its name in metrics files, and after ``FLOOR_`` in floors.
        name: in a table's head.
        full: the same without abbreviations.
        unit: ``%`` of a share, which is stored as a fraction; else such as ``nats``.
        better: ``higher`` or ``lower``.
        brief: its name where there is little room; none: it is left out there.
        of_floor: what a floor, by its name, achieves, where that is not among the floors by itself.

    """

    key: str
    name: str
    full: str
    unit: str
    better: str
    brief: str = ""
    of_floor: Callable[[Floors, str], float] | None = None

    @property
    def is_share(self) -> bool:
        """Whether it is from 0 to 1, and shown in percent."""
        return self.unit == "%"

    @property
    def scale(self) -> float:
        """From the stored value to the shown one."""
        return 100.0 if self.is_share else 1.0

    @property
    def digits(self) -> int:
        """After the point."""
        return 2 if self.is_share else 3

    @property
    def head(self) -> str:
        """The name, with the unit where a value alone does not say it."""
        return self.name if self.is_share else f"{self.name} ({self.unit})"

    @property
    def difference(self) -> str:
        """The unit of a difference of two values."""
        return "points" if self.is_share else self.unit

    @property
    def in_text(self) -> str:
        """The name within a sentence."""
        return self.name if self.name.isupper() else self.name.lower()

    def text(self, value: float) -> str:
        """A stored value, such as ``24.54%`` or ``5.137``."""
        return f"{value * self.scale:.{self.digits}f}{'%' if self.is_share else ''}"

    def height(self, values: Mapping[str, float]) -> float | None:
        """The shown value among an evaluation's; none if training diverged."""
        value = values[self.key] * self.scale
        return value if math.isfinite(value) else None

    def floor(self, floors: Floors, name: str) -> float | None:
        """What a floor achieves, as stored; none where that is not known."""
        return floors.get(f"{name}_{self.key}") if self.of_floor is None else self.of_floor(floors, name)


@dataclass(frozen=True, eq=False)
class Presentation:
    """Of a task.

    Attributes:
        examples: what its examples are called, many of them.
        rows: what ``TaskSettings.size_setting`` counts.
        targets: the predictions that are scored; floors say their number as ``targets``.
        measures: what every evaluation holds, in the order of tables.
        main: those that floors hold too, which are plotted and shown while training.
        floors: names of the floors, the simplest first.
        rates: shares that floors hold besides, by their names there: what they are called.
        note: below results; a format of the floors' values and ``train_clients``.

    """

    examples: str
    rows: str
    targets: str
    measures: tuple[Measure, ...]
    main: tuple[Measure, ...]
    floors: tuple[str, ...]
    rates: Mapping[str, str] = field(default_factory=dict)
    note: str = ""

    @property
    def brief(self) -> tuple[Measure, ...]:
        """Where there is little room."""
        return tuple(measure for measure in self.measures if measure.brief)
