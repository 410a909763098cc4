"""``hashfed bench memory``."""

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from tqdm import tqdm

from hashfed.cli.arguments import Parser, path, whole
from hashfed.cli.budgets import DEFAULT_BUDGETS, budget, check_budgets
from hashfed.cli.outputs import check_output
from hashfed.errors import HashfedError
from hashfed.experiments.memory_benchmark.clients import client_memory
from hashfed.experiments.memory_benchmark.server import server_memory
from hashfed.files import write_atomically
from hashfed.report.memory_table import print_client_memory, print_server_memory


def add_bench_memory(parser: Parser) -> None:
    """The arguments of the command."""
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
    parser.add_argument(
        "--budgets",
        type=budget,
        nargs="+",
        default=DEFAULT_BUDGETS,
        metavar="B",
        help="fractions of the rows, or such as own+1%%, besides all [default 0.3 0.1 0.05 own+1%%]",
    )
    parser.add_argument("--rounds", type=whole, default=1, help="of the server [default %(default)s]")
    parser.add_argument(
        "--output",
        type=path,
        default=Path("bench-memory.json"),
        help="file of the result [default %(default)s]",
    )


def bench_memory(arguments: argparse.Namespace) -> None:
    """Measure, print a table for each part, and write all as JSON."""
    _check(arguments)
    check_output(arguments.output)  # better now than after the measurements
    result: dict[str, Any] = {"clients": [], "server": None}
    steps = len(arguments.vocabularies) * len({1.0, *arguments.budgets})
    steps += len(arguments.cohorts) * len(arguments.workers)
    with tqdm(total=steps, disable=None) as bar:

        def tell(what: str) -> None:
            bar.set_postfix_str(what)
            bar.update()

        for words in arguments.vocabularies:
            result["clients"].append(client_memory(words, arguments.budgets, tell))
        if arguments.cohorts and arguments.workers:
            result["server"] = server_memory(arguments.cohorts, arguments.workers, arguments.rounds, tell)
    write_atomically(arguments.output, (json.dumps(result, indent=1) + "\n").encode())
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
    for name, values in (given | {"rounds": [arguments.rounds]}).items():
        if min(values, default=1) < 1:
            raise HashfedError(f"--{name} = {min(values)}: must be at least 1")
