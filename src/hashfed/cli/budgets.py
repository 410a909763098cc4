"""Budgets on the command line."""

import argparse
from collections.abc import Iterable
from contextlib import suppress

from hashfed.cli.arguments import real
from hashfed.cost.budgets import Budget, OwnAnd
from hashfed.display import brief
from hashfed.errors import HashfedError

OWN = "own+"


def budget(text: str) -> Budget:
    """A fraction of the rows, or own rows and others: ``0.1``, ``own+1%``, ``own+300``."""
    with suppress(argparse.ArgumentTypeError):
        if not text.startswith(OWN):
            return real(text)
        number = text.removeprefix(OWN)
        extra = real(number.removesuffix("%")) / (100 if number.endswith("%") else 1)
        whole = extra == int(extra) and not number.endswith("%")
        if 0 <= extra < 1 or (extra >= 1 and whole):
            return OwnAnd(extra)
    raise argparse.ArgumentTypeError(
        f"{brief(text)!r}: must be a number, such as 0.5 or 1e-3, or own rows and others, such as own+1% "
        "(below 100%) or own+300"
    )


def check_budgets(budgets: Iterable[Budget]) -> None:
    """Refuse fractions that no client can be given.

    Raises:
        HashfedError: naming the option, the value and what is allowed.

    """
    for one in budgets:
        if not isinstance(one, OwnAnd) and not 0 < one <= 1:
            raise HashfedError(f"--budgets = {one:g}: must be > 0 and ≤ 1")
