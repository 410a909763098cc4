"""Budgets on the command line."""

import argparse
from collections.abc import Iterable

from hashfed.cli.arguments import real
from hashfed.display import brief
from hashfed.errors import HashfedError
from hashfed.experiments.budgets import Budget, OwnAnd, budget_label

OWN = "own+"
DEFAULT_BUDGETS: tuple[Budget, ...] = (0.3, 0.1, 0.05, OwnAnd(0.01))
"""Of benchmarks, besides all rows."""


def budget(text: str) -> Budget:
    """A fraction of the rows, or own rows and others: ``0.1``, ``own+1%``, ``own+300``."""
    start, _, unit = text.removeprefix(OWN).partition("%")
    try:
        if not text.startswith(OWN):
            return real(text)
        value = real(start) / 100 if text.endswith("%") else real(start)
    except argparse.ArgumentTypeError:
        unit = "no number"
    if unit:
        raise argparse.ArgumentTypeError(
            f"{brief(text)!r}: must be a number, such as 0.5 or 1e-3, or own rows and more, such as own+1% "
            "or own+300"
        )
    return OwnAnd(value)


def check_budgets(budgets: Iterable[Budget]) -> None:
    """Refuse what no client can be given.

    Raises:
        HashfedError: naming the option, the value and what is allowed.

    """
    for one in budgets:
        if not isinstance(one, OwnAnd):
            if not 0 < one <= 1:
                raise HashfedError(f"--budgets = {one:g}: must be > 0 and ≤ 1")
        elif one.extra < 0 or (one.extra >= 1 and one.extra != int(one.extra)):
            raise HashfedError(
                f"--budgets = {budget_label(one)}: must be own+ and from 0% to below 100%, or a whole number "
                "of rows"
            )
