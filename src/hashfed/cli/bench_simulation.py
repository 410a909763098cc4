"""``hashfed bench simulation``."""

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from tqdm import tqdm

from hashfed.cli.arguments import Parser, path, real, whole
from hashfed.cli.outputs import check_output
from hashfed.errors import HashfedError
from hashfed.experiments.simulation_benchmark.run import PACKAGES
from hashfed.experiments.simulation_benchmark.run import bench_simulation as measure
from hashfed.experiments.simulation_benchmark.scenario import Scenario
from hashfed.files import with_home, write_atomically
from hashfed.hardware import usable_cores
from hashfed.report.simulation_table import print_simulation_table


def add_bench_simulation(parser: Parser) -> None:
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
        type=real,
        nargs="*",
        default=[0.1],
        help="at which hashfed is run too, besides the full layer that all train [default %(default)s]",
    )
    parser.add_argument("--clients", type=whole, default=8, help="per round [default %(default)s]")
    parser.add_argument("--sentences", type=whole, default=64, help="per client [default %(default)s]")
    parser.add_argument(
        "--rounds", type=whole, default=4, help="per run; the first is not counted [default %(default)s]"
    )
    parser.add_argument("--repeats", type=whole, default=5, help="runs, in turn [default %(default)s]")
    parser.add_argument("--workers", type=whole, default=usable_cores(), help="cores [default all]")
    parser.add_argument(
        "--peers",
        nargs="*",
        default=list(PACKAGES),
        choices=list(PACKAGES),
        metavar="PEER",
        help=f"of {', '.join(PACKAGES)} [default all that are installed]",
    )
    parser.add_argument(
        "--python",
        nargs="+",
        default=[],
        metavar="PEER=PATH",
        help="interpreter of a peer that is installed elsewhere than hashfed",
    )
    parser.add_argument(
        "--output",
        type=path,
        default=Path("bench-simulation.json"),
        help="file of the result [default %(default)s]",
    )


def bench_simulation(arguments: argparse.Namespace) -> None:
    """Measure each vocabulary, print its table, and write all as JSON."""
    for budget in arguments.budgets:
        if not 0 < budget < 1:
            raise HashfedError(f"--budgets = {budget:g}: must be > 0 and < 1")
    least = {name: getattr(arguments, name) for name in ("clients", "sentences", "repeats", "workers")}
    for name, value in {**least, "vocabularies": min(arguments.vocabularies)}.items():
        if value < 1:
            raise HashfedError(f"--{name} = {value}: must be at least 1")
    if arguments.rounds < 2:
        raise HashfedError(f"--rounds = {arguments.rounds}: must be at least 2, for the first is not counted")
    interpreters = dict.fromkeys(arguments.peers, sys.executable)
    for item in arguments.python:
        name, _, place = item.partition("=")
        if name not in PACKAGES or not place:
            raise HashfedError(f"--python = {item}: must be PEER=PATH, a peer of {', '.join(PACKAGES)}")
        if name in interpreters:
            interpreters[name] = with_home(place)
    check_output(arguments.output)  # better now than after the measurements
    results: list[dict[str, Any]] = []
    for words in arguments.vocabularies:
        scenario = Scenario(
            words, arguments.clients, arguments.sentences, arguments.workers, arguments.rounds
        )
        with tqdm(desc=f"{words:,} words", unit="run", disable=None) as bar:

            def show(name: str, bar: Any = bar) -> None:
                bar.set_postfix_str(name, refresh=False)
                bar.update()

            results.append(measure(scenario, arguments.budgets, interpreters, arguments.repeats, show))
        print_simulation_table(results[-1], sys.stdout)
        print(flush=True)
        write_atomically(arguments.output, (json.dumps(results, indent=1) + "\n").encode())
    print(f"result: {arguments.output}")
