"""``hashfed bench index``: quality on output layers, or speed on random rows."""

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from tqdm import tqdm

from hashfed.cli.arguments import Parser, path, real, whole
from hashfed.cli.outputs import check_output
from hashfed.display import printable
from hashfed.engines.allocator import keep_memory
from hashfed.errors import HashfedError
from hashfed.experiments.index_benchmark.result import summarize
from hashfed.experiments.index_benchmark.run import LAYERS, bench_target, check_variants
from hashfed.experiments.index_benchmark.speed import SPEED_METHODS, USUAL, check_speed, measure_speed
from hashfed.files import write_atomically
from hashfed.report.html import require_report
from hashfed.report.index_page import write_index_page
from hashfed.report.index_speed_table import print_speed_table
from hashfed.report.index_table import print_index_table

BUDGETS = (0.01, 0.02, 0.05, 0.1, 0.2, 0.3)
OF_LAYERS: dict[str, Any] = {"budgets": BUDGETS, "budget": 0.1, "clients": 24, "seeds": 3, "indexes": None}
"""Options that need a layer, with defaults."""
OF_SPEED: dict[str, Any] = {"rows": (80_000, 1_000_000), "width": 96, "methods": None, "repeats": 5}
"""Options that need that there is none."""


def add_bench_index(parser: Parser) -> None:
    """The arguments of the command."""
    layers = ", ".join(LAYERS)
    parser.description = (
        "With LAYER: measure which share of the softmax mass each index finds, in which time and bytes; "
        "writes result.json and index.html, and prints a table. Without: measure how long indexes over "
        "random rows take to build, to refresh, to look up and to select from, beside the bare matrix "
        "products; writes result.json and prints tables."
    )
    parser.add_argument(
        "layers",
        nargs="*",
        metavar="LAYER",
        help=f"folder of a run (or several, joined by commas, one for each seed), or one of: {layers}",
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


def bench_index(arguments: argparse.Namespace) -> None:
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
        with tqdm(total=len(names) * (arguments.repeats + 1), desc=f"{size:,} rows", disable=None) as bar:

            def show(name: str, bar: Any = bar) -> None:
                bar.set_postfix_str(name, refresh=False)
                bar.update()

            results.append(measure_speed(size, arguments.width, names, arguments.repeats, show))
        print_speed_table(results[-1], sys.stdout)
        print(flush=True)
        write_atomically(path, (json.dumps(results, indent=1) + "\n").encode())
    print(f"result: {path}")


def _bench_layers(arguments: argparse.Namespace) -> None:
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
        with tqdm(total=(len(names) + 2) * arguments.seeds, desc=printable(target), disable=None) as bar:
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
