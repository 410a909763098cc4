"""What of a source is not read, to be told in one line."""

from collections import Counter
from dataclasses import dataclass, field

from hashfed.display import brief, printable

MOST = 6
"""Reasons, and names of fields, that are named."""


@dataclass
class LeftOut:
    """Counts of what is not read.

    Attributes:
        files: by the reason, such as ``hidden`` or ``.md``.
        fields: lines by the name of a field of JSON Lines that is none of ours.

    """

    files: Counter[str] = field(default_factory=Counter)
    fields: Counter[str] = field(default_factory=Counter)

    def __str__(self) -> str:
        """Such as ``3 files not read: 2 hidden, 1 .md``; empty where all is read."""
        parts = []
        if self.files:
            total = self.files.total()
            reasons = ", ".join(f"{count:,} {reason}" for reason, count in _first(self.files, "others"))
            parts.append(f"{total:,} file{'s' if total > 1 else ''} not read: {reasons}")
        if self.fields:
            names = ", ".join(
                f"{printable(brief(name, 40))} in {count:,} line{'s' if count > 1 else ''}"
                for name, count in _first(self.fields, "others")
            )
            parts.append(f"fields not read: {names}")
        return "; ".join(parts)


def _first(counts: Counter[str], rest: str) -> list[tuple[str, int]]:
    """The largest counts, equal ones by name, and the sum of the rest."""
    ranked = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    if len(ranked) <= MOST:
        return ranked
    return [*ranked[: MOST - 1], (rest, sum(count for _, count in ranked[MOST - 1 :]))]
