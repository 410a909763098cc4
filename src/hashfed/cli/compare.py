"""``hashfed compare``."""

import argparse
import sys
from pathlib import Path

from hashfed.cli.arguments import Parser, path
from hashfed.cli.command import Command
from hashfed.cli.outputs import check_output
from hashfed.report import print_table, write_page
from hashfed.runs import RunFolder


def add_compare(parser: Parser) -> None:
    """The arguments of the command."""
    parser.add_argument("runs", nargs="+", type=path, metavar="RUN", help="folders of runs")
    parser.add_argument(
        "--output", type=path, default=Path("comparison.html"), help="the page [default %(default)s]"
    )


def compare(arguments: argparse.Namespace) -> None:
    """``hashfed compare``."""
    check_output(arguments.output)
    runs = [RunFolder(path) for path in arguments.runs]
    print_table(runs, sys.stdout)
    write_page(runs, arguments.output)
    print(f"page: {arguments.output}")


COMPARE = Command(
    name="compare",
    help="tables and plots of several runs as one page",
    description="Write a self-contained HTML page, and print its table.",
    run=compare,
    add=add_compare,
)
