"""What the command lines of several benchmarks share."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tqdm import tqdm

from hashfed.cli.arguments import Parser, path, whole
from hashfed.cli.budgets import budget
from hashfed.cost.budgets import Budget, OwnAnd
from hashfed.display import printable
from hashfed.errors import HashfedError
from hashfed.files import write_atomically

BUDGETS: tuple[Budget, ...] = (0.3, 0.1, 0.05, OwnAnd(0.01))
"""Besides all rows."""


def add_budgets(parser: Parser) -> None:
    """Those at which a client is measured."""
    parser.add_argument(
        "--budgets",
        type=budget,
        nargs="+",
        default=BUDGETS,
        metavar="B",
        help="fractions of the rows, or such as own+1%%, besides all [default 0.3 0.1 0.05 own+1%%]",
    )


def add_vocabularies(parser: Parser) -> None:
    """Sizes of the model."""
    parser.add_argument(
        "--vocabularies",
        type=whole,
        nargs="+",
        default=[10_000, 80_000],
        metavar="V",
        help="numbers of words [default 10000 80000]",
    )


def add_output(parser: Parser, default: str) -> None:
    """Where the result goes."""
    text = "file of the result [default %(default)s]"
    parser.add_argument("--output", type=path, default=Path(default), help=text)


def at_least(least: int, **numbers: int) -> None:
    """Refuse smaller numbers.

    Raises:
        HashfedError: naming the option, the value and what is allowed.

    """
    for name, value in numbers.items():
        if value < least:
            raise HashfedError(f"--{name} = {value}: must be at least {least}")


@contextmanager
def progress(total: int | None, title: str, unit: str = "it") -> Iterator[Callable[[str], None]]:
    """A bar, and what moves it on by one with a name beside it."""
    with tqdm(total=total, desc=printable(title), unit=unit, disable=None) as bar:

        def show(name: str) -> None:
            bar.set_postfix_str(name, refresh=False)
            bar.update()

        yield show


def write_json(output: Path, result: Any) -> None:
    """Write a result.

    Raises:
        HashfedError: where it cannot be written.

    """
    write_atomically(output, (json.dumps(result, indent=1) + "\n").encode())
