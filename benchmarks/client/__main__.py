"""``python -m benchmarks.client``."""

import argparse
import sys
from collections.abc import Sequence
from typing import Any

from benchmarks.client.run import bench_client
from benchmarks.client.table import print_client_table
from benchmarks.command import add_budgets, add_output, add_vocabularies, at_least, progress, write_json
from hashfed.cli.arguments import Parser, whole
from hashfed.cli.budgets import check_budgets
from hashfed.cli.main import main as command
from hashfed.cli.outputs import check_output


def build_parser() -> Parser:
    """The arguments of the command."""
    parser = Parser(
        prog="python -m benchmarks.client",
        description="Time one client's round, one thread, in turn with plain PyTorch and with the bare "
        "matrix products, after checking that the losses are equal. Writes JSON and prints a table.",
        allow_abbrev=False,
    )
    add_vocabularies(parser)
    add_budgets(parser)
    parser.add_argument("--repeats", type=whole, default=5, help="rounds timed [default %(default)s]")
    add_output(parser, "bench-client.json")
    parser.set_defaults(run=measure)
    return parser


def measure(arguments: argparse.Namespace) -> None:
    """Measure each vocabulary, print its table, and write all as JSON."""
    check_budgets(arguments.budgets)
    at_least(1, repeats=arguments.repeats, vocabularies=min(arguments.vocabularies))
    check_output(arguments.output)  # better now than after the measurements
    results: list[dict[str, Any]] = []
    for words in arguments.vocabularies:
        count = (arguments.repeats + 1) * (2 + 2 * len({1.0, *arguments.budgets}))
        with progress(count, f"{words:,} words") as show:
            results.append(bench_client(words, arguments.budgets, arguments.repeats, show))
        print_client_table(results[-1], sys.stdout)
        print(flush=True)
        write_json(arguments.output, results)
    print(f"result: {arguments.output}")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit code."""
    return command(arguments, build_parser)


if __name__ == "__main__":
    sys.exit(main())
