"""``python -m benchmarks.memory``."""

import argparse
import sys
from collections.abc import Sequence
from typing import Any

from benchmarks.command import add_budgets, add_output, at_least, progress, write_json
from benchmarks.memory.clients import client_memory
from benchmarks.memory.server import server_memory
from benchmarks.memory.table import print_client_memory, print_server_memory
from hashfed.cli.arguments import Parser, whole
from hashfed.cli.budgets import check_budgets
from hashfed.cli.main import main as command
from hashfed.cli.outputs import check_output


def build_parser() -> Parser:
    """The arguments of the command."""
    parser = Parser(
        prog="python -m benchmarks.memory",
        description="Measure in fresh processes the peak memory of a client at several budgets, and of the "
        "server with several cohorts. Writes JSON and prints tables.",
        allow_abbrev=False,
    )
    numbers: dict[str, tuple[list[int], str]] = {
        "vocabularies": ([10_000, 80_000], "numbers of words of a client's model; none: no clients"),
        "cohorts": ([16, 1000], "clients per round of the server; none: no server"),
        "workers": ([1, 2], "processes that simulate the server's clients"),
    }
    for name, (default, text) in numbers.items():
        shown = " ".join(map(str, default))
        parser.add_argument(
            f"--{name}", type=whole, nargs="*", default=default, metavar="N", help=f"{text} [default {shown}]"
        )
    add_budgets(parser)
    parser.add_argument("--rounds", type=whole, default=1, help="of the server [default %(default)s]")
    add_output(parser, "bench-memory.json")
    parser.set_defaults(run=measure)
    return parser


def measure(arguments: argparse.Namespace) -> None:
    """Measure, print a table for each part, and write all as JSON."""
    _check(arguments)
    check_output(arguments.output)  # better now than after the measurements
    result: dict[str, Any] = {"clients": [], "server": None}
    steps = len(arguments.vocabularies) * len({1.0, *arguments.budgets})
    steps += len(arguments.cohorts) * len(arguments.workers)
    with progress(steps, "memory") as tell:
        for words in arguments.vocabularies:
            result["clients"].append(client_memory(words, arguments.budgets, tell))
        if arguments.cohorts and arguments.workers:
            result["server"] = server_memory(arguments.cohorts, arguments.workers, arguments.rounds, tell)
    write_json(arguments.output, result)
    for item in result["clients"]:
        print_client_memory(item, sys.stdout)
        print()
    if result["server"] is not None:
        print_server_memory(result["server"], sys.stdout)
        print()
    print(f"result: {arguments.output}")


def _check(arguments: argparse.Namespace) -> None:
    check_budgets(arguments.budgets)
    given = {name: getattr(arguments, name) for name in ("vocabularies", "cohorts", "workers")}
    at_least(1, **{name: min(values, default=1) for name, values in given.items()}, rounds=arguments.rounds)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit code."""
    return command(arguments, build_parser)


if __name__ == "__main__":
    sys.exit(main())
