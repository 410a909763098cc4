"""``python -m benchmarks.index``: quality on output layers, or speed on random rows."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.command import at_least, progress, write_json
from benchmarks.index.page import write_index_page
from benchmarks.index.result import summarize
from benchmarks.index.run import LAYERS, bench_target, check_variants
from benchmarks.index.speed import SPEED_METHODS, USUAL, check_speed, measure_speed
from benchmarks.index.speed_table import print_speed_table
from benchmarks.index.table import print_index_table
from hashfed.cli.arguments import Parser, path, real, whole
from hashfed.cli.main import main as command
from hashfed.cli.outputs import check_output
from hashfed.engines.allocator import keep_memory
from hashfed.errors import HashfedError
from hashfed.report.html import require_report

BUDGETS = (0.01, 0.02, 0.05, 0.1, 0.2, 0.3)
OF_LAYERS: dict[str, Any] = {"budgets": BUDGETS, "budget": 0.1, "clients": 24, "seeds": 3, "indexes": None}
"""Options that need a layer, with defaults."""
OF_SPEED: dict[str, Any] = {"rows": (80_000, 1_000_000), "width": 96, "methods": None, "repeats": 5}
"""Options that need that there is none."""


def build_parser() -> Parser:
    """The arguments of the command."""
    parser = Parser(
        prog="python -m benchmarks.index",
        description="With LAYER: measure which share of the softmax mass each index finds, in which time "
        "and bytes; writes result.json and index.html, and prints a table. Without: measure how long indexes "
        "over random rows take to build, to refresh, to look up and to select from, beside the bare matrix "
        "products; writes result.json and prints tables.",
        allow_abbrev=False,
    )
    parser.add_argument(
        "layers",
        nargs="*",
        metavar="LAYER",
        help="folder of a run (or several, joined by commas, one for each seed), or one of: "
        + ", ".join(LAYERS),
    )
    layer = parser.add_argument_group("with LAYER")
    layer.add_argument("--budgets", type=real, nargs="+", help=f"fractions of the rows [default {BUDGETS}]")
    layer.add_argument("--budget", type=real, help="the one that tables show [default 0.1]")
    layer.add_argument("--clients", type=whole, help="who ask, per seed [default 24]")
    layer.add_argument("--seeds", type=whole, help="how often, with other clients [default 3]")
    layer.add_argument("--indexes", nargs="+", metavar="NAME", help="only these [default all]")
    speed = parser.add_argument_group("without LAYER")
    speed.add_argument(
        "--rows", type=whole, nargs="+", metavar="N", help="numbers of rows [default 80000 1000000]"
    )
    speed.add_argument("--width", type=whole, metavar="D", help="length of a row [default 96]")
    speed.add_argument(
        "--methods",
        nargs="+",
        metavar="NAME",
        help=f"of {', '.join(SPEED_METHODS)} [default {' '.join(USUAL)}]",
    )
    speed.add_argument("--repeats", type=whole, help="measurements of each step [default 5]")
    parser.add_argument(
        "--output",
        type=path,
        help="folder of the result [default bench-index with LAYER, bench-index-speed without]",
    )
    parser.set_defaults(run=measure)
    return parser


def measure(arguments: argparse.Namespace) -> None:
    """Quality on layers, or speed without."""
    used, unused = (OF_LAYERS, OF_SPEED) if arguments.layers else (OF_SPEED, OF_LAYERS)
    for name in unused:
        if getattr(arguments, name) is not None:
            raise HashfedError(f"--{name}: only {'without' if arguments.layers else 'with'} LAYER")
    for name, default in used.items():
        if getattr(arguments, name) is None:
            setattr(arguments, name, default)
    if arguments.layers:
        arguments.output = arguments.output or Path("bench-index")
        _bench_layers(arguments)
    else:
        arguments.output = arguments.output or Path("bench-index-speed")
        _bench_speed(arguments)


def _bench_speed(arguments: argparse.Namespace) -> None:
    """Measure each number of rows, write ``result.json`` after each, and print tables."""
    names = check_speed(arguments.methods, arguments.rows, arguments.width, arguments.repeats)
    path = arguments.output / "result.json"
    check_output(path)  # better now than after the measurements
    keep_memory()
    results: list[dict[str, Any]] = []
    for size in arguments.rows:
        with progress(len(names) * (arguments.repeats + 1), f"{size:,} rows") as show:
            results.append(measure_speed(size, arguments.width, names, arguments.repeats, show))
        print_speed_table(results[-1], sys.stdout)
        print(flush=True)
        write_json(path, results)
    print(f"result: {path}")


def _bench_layers(arguments: argparse.Namespace) -> None:
    """Measure, write ``result.json`` after each layer and ``index.html`` at the end, and print tables."""
    names = check_variants(arguments.indexes)
    budgets = sorted({*arguments.budgets, arguments.budget})
    for budget in budgets:
        if not 0 < budget <= 1:
            raise HashfedError(f"--budgets = {budget:g}: must be > 0 and ≤ 1")
    at_least(1, clients=arguments.clients, seeds=arguments.seeds)
    require_report("python -m benchmarks.index")
    check_output(arguments.output / "result.json")  # better now than after the measurements
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
        with progress((len(names) + 2) * arguments.seeds, target) as show:
            for item in bench_target(target, names, budgets, arguments.clients, arguments.seeds):
                measured.append(item)
                show(item[0])
        result["layers"].append(summarize(measured, target))
        write_json(arguments.output / "result.json", result)
        print_index_table(result["layers"][-1], budgets, at, sys.stdout)
        print(flush=True)
    write_index_page(result, arguments.output / "index.html")
    print(f"page: {arguments.output / 'index.html'}")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit code."""
    return command(arguments, build_parser)


if __name__ == "__main__":
    sys.exit(main())
