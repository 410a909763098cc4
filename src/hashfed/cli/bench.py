"""``hashfed bench index``."""

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from tqdm import tqdm

from hashfed.cli.arguments import Parser
from hashfed.engines.allocator import keep_memory
from hashfed.errors import HashfedError
from hashfed.experiments.index_benchmark.result import summarize
from hashfed.experiments.index_benchmark.run import LAYERS, bench_target, check_variants
from hashfed.files import write_atomically
from hashfed.report.html import require_report
from hashfed.report.index_page import write_index_page
from hashfed.report.index_table import print_index_table

BUDGETS = (0.01, 0.02, 0.05, 0.1, 0.2, 0.3)


def add_bench_index(parser: Parser) -> None:
    """The arguments of the command."""
    layers = ", ".join(LAYERS)
    parser.add_argument(
        "layers",
        nargs="+",
        metavar="LAYER",
        help=f"folder of a run (or several, joined by commas, one for each seed), or one of: {layers}",
    )
    parser.add_argument(
        "--budgets",
        type=float,
        nargs="+",
        default=BUDGETS,
        help="fractions of the rows [default %(default)s]",
    )
    parser.add_argument(
        "--budget", type=float, default=0.1, help="the one that tables show [default %(default)s]"
    )
    parser.add_argument("--clients", type=int, default=24, help="who ask, per seed [default %(default)s]")
    parser.add_argument(
        "--seeds", type=int, default=3, help="how often, with other clients [default %(default)s]"
    )
    parser.add_argument("--indexes", nargs="+", metavar="NAME", help="only these [default all]")
    parser.add_argument(
        "--output", type=Path, default=Path("bench-index"), help="folder of the result [default %(default)s]"
    )


def bench_index(arguments: argparse.Namespace) -> None:
    """Measure, write ``result.json`` after each layer and ``index.html`` at the end, and print tables."""
    names = check_variants(arguments.indexes)
    budgets = sorted({*arguments.budgets, arguments.budget})
    for budget in budgets:
        if not 0 < budget <= 1:
            raise HashfedError(f"--budgets = {budget:g}: must be > 0 and ≤ 1")
    for option in ("clients", "seeds"):
        if getattr(arguments, option) < 1:
            raise HashfedError(f"--{option} = {getattr(arguments, option)}: must be at least 1")
    require_report("hashfed bench index")
    write_atomically(arguments.output / "result.json", b"")  # better now than after the first layer
    keep_memory()
    result: dict[str, Any] = {
        "budgets": budgets,
        "budget": arguments.budget,
        "clients": arguments.clients,
        "seeds": arguments.seeds,
        "layers": [],
    }
    at = budgets.index(arguments.budget)
    for target in arguments.layers:
        measured = []
        with tqdm(total=(len(names) + 2) * arguments.seeds, desc=target, disable=None) as bar:
            for item in bench_target(target, names, budgets, arguments.clients, arguments.seeds):
                measured.append(item)
                bar.set_postfix_str(item[0], refresh=False)
                bar.update()
        result["layers"].append(summarize(measured, target))
        text = json.dumps(result, indent=1) + "\n"
        write_atomically(arguments.output / "result.json", text.encode())
        print_index_table(result["layers"][-1], budgets, at, sys.stdout)
        print(flush=True)
    write_index_page(result, arguments.output / "index.html")
    print(f"page: {arguments.output / 'index.html'}")
