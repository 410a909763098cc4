"""What of a source is not read, to be told in one line."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

from hashfed.display import brief, printable

MOST = 6
"""Reasons, and names of fields, that are named."""
OTHERS = "others"
MOST_FIELDS = 1000
"""Names that are counted each by itself."""


@dataclass
class LeftOut:
    """Counts of what is not read.

    Attributes:
        files: by the reason, such as ``hidden`` or ``.md``.
        clients: lines of JSON Lines without a text.
        fields: lines by the name of a field of JSON Lines that is none of ours.

    """

    files: Counter[str] = field(default_factory=Counter)
    clients: int = 0
    fields: Counter[str] = field(default_factory=Counter)

    def add_fields(self, names: Iterable[str]) -> None:
        """Count the fields of a line; a file whose every line has other ones does not fill the memory."""
        for name in names:
            self.fields[name if name in self.fields or len(self.fields) < MOST_FIELDS else OTHERS] += 1

    def __str__(self) -> str:
        """Such as ``3 files not read: 2 hidden, 1 .md``; empty where all is read."""
        parts = []
        if self.files:
            total = self.files.total()
            reasons = ", ".join(f"{count:,} {reason}" for reason, count in _first(self.files))
            parts.append(f"{total:,} file{'s' if total > 1 else ''} not read: {reasons}")
        if self.clients:
            parts.append(f"{self.clients:,} line{'s' if self.clients > 1 else ''} without a text")
        if self.fields:
            names = ", ".join(
                f"{printable(brief(name, 40))} in {count:,} line{'s' if count > 1 else ''}"
                for name, count in _first(self.fields)
            )
            parts.append(f"fields not read: {names}")
        return "; ".join(parts)


def _first(counts: Counter[str]) -> list[tuple[str, int]]:
    """The largest counts, equal ones by name, and the sum of the others."""
    named = [(name, count) for name, count in counts.items() if name != OTHERS]
    ranked = sorted(named, key=lambda item: (-item[1], item[0]))
    most = MOST if len(ranked) <= MOST and not counts[OTHERS] else MOST - 1
    rest = counts[OTHERS] + sum(count for _, count in ranked[most:])
    return [*ranked[:most], *([(OTHERS, rest)] if rest else [])]
