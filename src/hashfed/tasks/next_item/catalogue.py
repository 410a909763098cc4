"""The items that have a row."""

import hashlib
import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import numpy as np

from hashfed.display import shown
from hashfed.errors import HashfedError
from hashfed.models.protocol import INPUT, OUTPUT
from hashfed.tasks.sequences import PAD

FIRST = PAD + 1
"""The row of the first item; the one before is of no item, and never an answer."""


@dataclass(frozen=True)
class Catalogue:
    """Items, in an order that says nothing of them: by SHA-256 of their names.

    Attributes:
        items: distinct names; item i has row 1 + i.
        cuts: where a global time split divides: validation begins, test begins; None: it is leave-one-out.
        facts: of the source that it was made from, to be told; no part of what it is.

    """

    items: tuple[str, ...]
    cuts: tuple[float, float] | None = None
    facts: Mapping[str, float] = field(default_factory=dict, compare=False, repr=False)
    rows: dict[str, int] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "rows", {item: FIRST + place for place, item in enumerate(self.items)})

    @classmethod
    def of(
        cls, items: Iterable[str], cuts: tuple[float, float] | None, facts: Mapping[str, float]
    ) -> "Catalogue":
        """These items, put in order."""
        ordered = sorted(items, key=lambda item: (hashlib.sha256(item.encode()).digest(), item))
        return cls(tuple(ordered), cuts, facts)

    @property
    def sizes(self) -> dict[str, int]:
        """See ``RowNames``: what was had are items, and what comes next."""
        return dict.fromkeys((OUTPUT, INPUT), FIRST + len(self.items))

    def text(self, row: int) -> str:
        """The item of a row."""
        return self.items[row - FIRST]

    def places(self, names: tuple[str, ...]) -> np.ndarray:
        """Rows of items by their names, (len(names),) int32; that of no item for those that have none."""
        return np.array([self.rows.get(name, PAD) for name in names], np.int32)

    def to_json(self) -> str:
        """All but ``facts``."""
        return json.dumps({"items": self.items, "cuts": self.cuts}, ensure_ascii=False)

    @classmethod
    def from_json(cls, text: str) -> "Catalogue":
        """From what ``to_json`` wrote.

        Raises:
            HashfedError: where it is no such text.

        """
        try:
            found = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise HashfedError(f"no readable names of items ({error})") from None
        if not isinstance(found, dict) or found.keys() != {"items", "cuts"}:
            raise HashfedError('must be a JSON object with "items" and "cuts"')
        items, cuts = found["items"], found["cuts"]
        if not isinstance(items, list) or not items or not all(isinstance(item, str) for item in items):
            raise HashfedError('"items" must be a list of names')
        if len(set(items)) < len(items):
            raise HashfedError('"items" has a name twice')
        numbers = isinstance(cuts, list) and len(cuts) == 2 and all(type(cut) in (int, float) for cut in cuts)
        if cuts is not None and not (numbers and all(math.isfinite(cut) for cut in cuts)):
            raise HashfedError(f'"cuts" = {shown(cuts)}: must be null or two times')
        return cls(tuple(items), None if cuts is None else (float(cuts[0]), float(cuts[1])))
