"""``hashfed cost``."""

import argparse
import json
import sys

from tqdm import tqdm

from hashfed.cli.arguments import Parser, overrides, path
from hashfed.cli.budgets import budget, check_budgets
from hashfed.cli.command import Command
from hashfed.cli.outputs import check_output
from hashfed.cli.reading import load_shown
from hashfed.cli.sizes import read_bytes
from hashfed.config import load_config
from hashfed.cost.run import BUDGETS, bill
from hashfed.cost.search import Limits
from hashfed.engines.device_memory import PROBES
from hashfed.files import write_atomically
from hashfed.report.cost_table import print_cost


def add_cost(parser: Parser) -> None:
    """The arguments of the command, besides the settings."""
    parser.add_argument(
        "--budgets",
        type=budget,
        nargs="+",
        default=BUDGETS,
        metavar="B",
        help="fractions of the rows, or such as own+1%%, to compare with all rows [default %(default)s]",
    )
    parser.add_argument(
        "--max-memory",
        metavar="BYTES",
        help="look for the largest models whose predicted peak memory, above the libraries, is at most this, "
        "such as 200MB",
    )
    parser.add_argument(
        "--max-bytes", metavar="BYTES", help="and whose messages of a round, down and up, are at most this"
    )
    parser.add_argument(
        "--no-measure",
        dest="measure",
        action="store_false",
        help=f"only predict memory; measuring takes {PROBES} processes for each client and budget",
    )
    parser.add_argument(
        "--flower", action="store_true", help="also the bytes that Flower serializes (needs hashfed[flower])"
    )
    parser.add_argument("--json", type=path, metavar="FILE", help="also the result as JSON")


def cost(arguments: argparse.Namespace) -> None:
    """Print the tables, and write the JSON."""
    config = load_config(arguments.config, overrides(arguments))
    check_budgets(arguments.budgets)
    limits = Limits(_limit("max-memory", arguments.max_memory), _limit("max-bytes", arguments.max_bytes))
    if arguments.json is not None:
        check_output(arguments.json, "--json")  # better now than after the measurements
    data = load_shown(config)
    with tqdm(disable=None, bar_format="{desc}") as bar:
        tell = bar.set_description_str
        result = bill(config, data, arguments.budgets, limits, arguments.measure, tell, arguments.flower)
        bar.set_description_str("")
    print_cost(result, sys.stdout)
    if arguments.json is not None:
        write_atomically(arguments.json, (json.dumps(result, indent=1, ensure_ascii=False) + "\n").encode())
        print(f"\nresult: {arguments.json}")


def _limit(name: str, text: str | None) -> int | None:
    return None if text is None else read_bytes(f"--{name}", text)


COST = Command(
    name="cost",
    help="what a configuration costs a client, and the largest model that a device can afford",
    description="Print what one client moves, computes and holds in one round, by budget, and the "
    "largest models within limits.",
    run=cost,
    add=add_cost,
    settings=True,
    usage="[--max-memory BYTES] [--max-bytes BYTES] [...]",
)
