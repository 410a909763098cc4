"""Budgets side by side: fractions of the rows, and what a client's data need with some rows more."""

from dataclasses import dataclass
from typing import Any

from hashfed.retrieval import SelectionSettings
from hashfed.retrieval.select import extra_label


@dataclass(frozen=True)
class OwnAnd:
    """Own rows and others.

    Attributes:
        extra: how many others, as ``selection.extra``: below 1 a fraction of all rows, else their number.

    """

    extra: float


Budget = float | OwnAnd
"""A fraction of the rows, of which 1 means all; or own rows and others."""


def budget_label(budget: Budget) -> str:
    """Such as ``0.1`` and ``own+1%``, which the command line reads back."""
    return extra_label(budget.extra) if isinstance(budget, OwnAnd) else f"{budget:g}"


def budget_settings(budget: Budget) -> dict[str, Any]:
    """What sets it in the group ``selection``."""
    if isinstance(budget, OwnAnd):
        return {"extra": budget.extra, "budget": SelectionSettings.model_fields["budget"].default}
    return {"budget": budget, "extra": None}
