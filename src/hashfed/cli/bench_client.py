"""``hashfed bench client``."""

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
from hashfed.experiments.client_benchmark.run import bench_client as measure
from hashfed.files import write_atomically
from hashfed.report.client_table import print_client_table


def add_bench_client(parser: Parser) -> None:
    """The arguments of the command."""
    parser.add_argument(
        "--vocabularies",
        type=whole,
        nargs="+",
        default=[10_000, 80_000],
        metavar="V",
        help="numbers of words [default 10000 80000]",
    )
    parser.add_argument(
        "--budgets",
        type=budget,
        nargs="+",
        default=DEFAULT_BUDGETS,
        metavar="B",
        help="fractions of the rows, or such as own+1%%, besides all [default 0.3 0.1 0.05 own+1%%]",
    )
    parser.add_argument("--repeats", type=whole, default=5, help="rounds timed [default %(default)s]")
    parser.add_argument(
        "--output",
        type=path,
        default=Path("bench-client.json"),
        help="file of the result [default %(default)s]",
    )


def bench_client(arguments: argparse.Namespace) -> None:
    """Measure each vocabulary, print its table, and write all as JSON."""
    check_budgets(arguments.budgets)
    for name, least in (
        ("repeats", arguments.repeats),
        ("vocabularies", min(arguments.vocabularies)),
    ):
        if least < 1:
            raise HashfedError(f"--{name} = {least}: must be at least 1")
    check_output(arguments.output)  # better now than after the measurements
    results: list[dict[str, Any]] = []
    for words in arguments.vocabularies:
        count = (arguments.repeats + 1) * (2 + 2 * len({1.0, *arguments.budgets}))
        with tqdm(total=count, desc=f"{words:,} words", disable=None) as bar:

            def show(name: str, bar: Any = bar) -> None:
                bar.set_postfix_str(name, refresh=False)
                bar.update()

            results.append(measure(words, arguments.budgets, arguments.repeats, show))
        print_client_table(results[-1], sys.stdout)
        print(flush=True)
        write_atomically(arguments.output, (json.dumps(results, indent=1) + "\n").encode())
    print(f"result: {arguments.output}")
