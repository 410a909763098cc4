"""``python -m benchmarks.simulation``."""

import argparse
import sys
from collections.abc import Sequence
from typing import Any

from benchmarks.command import add_output, add_vocabularies, at_least, progress, write_json
from benchmarks.simulation.run import PACKAGES, bench_simulation
from benchmarks.simulation.scenario import Scenario
from benchmarks.simulation.table import print_simulation_table
from hashfed.cli.arguments import Parser, real, whole
from hashfed.cli.main import main as command
from hashfed.cli.outputs import check_output
from hashfed.errors import HashfedError
from hashfed.files import with_home
from hashfed.hardware import usable_cores


def build_parser() -> Parser:
    """The arguments of the command."""
    parser = Parser(
        prog="python -m benchmarks.simulation",
        description="Simulate the same rounds with hashfed and with its peers, in turn, after checking that "
        "losses and parameters are equal. Writes JSON and prints a table.",
        allow_abbrev=False,
    )
    add_vocabularies(parser)
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
    add_output(parser, "bench-simulation.json")
    parser.set_defaults(run=measure)
    return parser


def measure(arguments: argparse.Namespace) -> None:
    """Measure each vocabulary, print its table, and write all as JSON."""
    for budget in arguments.budgets:
        if not 0 < budget < 1:
            raise HashfedError(f"--budgets = {budget:g}: must be > 0 and < 1")
    least = {name: getattr(arguments, name) for name in ("clients", "sentences", "repeats", "workers")}
    at_least(1, **least, vocabularies=min(arguments.vocabularies))
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
        with progress(None, f"{words:,} words", "run") as show:
            results.append(
                bench_simulation(scenario, arguments.budgets, interpreters, arguments.repeats, show)
            )
        print_simulation_table(results[-1], sys.stdout)
        print(flush=True)
        write_json(arguments.output, results)
    print(f"result: {arguments.output}")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit code."""
    return command(arguments, build_parser)


if __name__ == "__main__":
    sys.exit(main())
