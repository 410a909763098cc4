"""``hashfed bench device``."""

import argparse
import json
import sys
import time
from pathlib import Path

import torch
from tqdm import tqdm

from hashfed.bench.device import Plan, bench_device
from hashfed.bench.table import print_device_table
from hashfed.bench.work import Work, random_work
from hashfed.cli.arguments import Parser, overrides, path, whole
from hashfed.cli.budgets import budget, check_budgets
from hashfed.cli.command import Command
from hashfed.cli.outputs import check_output
from hashfed.config import Config, load_config
from hashfed.cost.budgets import Budget, OwnAnd
from hashfed.display import brief
from hashfed.engines.allocator import keep_memory
from hashfed.errors import HashfedError
from hashfed.files import write_atomically
from hashfed.runs import load_data

VOCABULARIES, COHORTS = (10_000, 80_000, 1_000_000), (16, 64, 256)
BUDGETS: tuple[Budget, ...] = (1.0, 0.1, OwnAnd(0.01))
SECONDS, QUICK_SECONDS = 200.0, 42.0
"""Of 4 minutes and of 1: reading the program, and a last round that takes longer, come on top."""
DECIDED = (
    "rounds",
    "cohort",
    "workers",
    "device",
    "engine",
    "memory_map",
    "checkpoint_every",
    "tensorboard",
    "output",
    "evaluation",
    "flower",
)
"""Settings of a run that this command decides, or has no use for."""


def add_bench(parser: Parser) -> None:
    """The arguments of the command, besides the settings."""
    parser.add_argument(
        "--vocabularies",
        type=whole,
        nargs="+",
        default=VOCABULARIES,
        metavar="V",
        help="words of the models with random clients [default 10000 80000 1000000]",
    )
    parser.add_argument(
        "--budgets",
        type=budget,
        nargs="+",
        default=BUDGETS,
        metavar="B",
        help="1 for all rows, fractions of the rows, or such as own+1%% [default 1 0.1 own+1%%]",
    )
    parser.add_argument(
        "--cohorts",
        type=whole,
        nargs="+",
        default=COHORTS,
        metavar="C",
        help="clients of a round [default 16 64 256]",
    )
    parser.add_argument(
        "--device", dest="on", metavar="DEVICE", help="cpu or cuda [default cuda where torch finds one]"
    )
    parser.add_argument(
        "--quick", action="store_true", help="in one minute, without the models of more than 100,000 rows"
    )
    parser.add_argument("--json", type=path, metavar="FILE", help="also the result as JSON")


def bench(arguments: argparse.Namespace) -> None:
    """Measure, print the table, and write the JSON."""
    plan = read_plan(arguments)
    if arguments.json is not None:
        check_output(arguments.json, "--json")  # better now than after the measurements
    keep_memory()
    with tqdm(disable=None, bar_format="{desc}") as bar:
        result = bench_device(plan, time.perf_counter, bar.set_description_str)
        bar.set_description_str("")
    print_device_table(result, sys.stdout)
    if arguments.json is not None:
        write_atomically(arguments.json, (json.dumps(result, indent=1, ensure_ascii=False) + "\n").encode())
        print(f"result: {arguments.json}")


def read_plan(arguments: argparse.Namespace) -> Plan:
    """What is asked for.

    Raises:
        HashfedError: naming an option, its value and what is allowed.

    """
    check_budgets(arguments.budgets)
    for name in ("vocabularies", "cohorts"):
        if (least := min(getattr(arguments, name))) < 1:
            raise HashfedError(f"--{name} = {least}: must be at least 1")
    device = arguments.on or ("cuda" if torch.cuda.is_available() else "cpu")
    if device not in ("cpu", "cuda"):
        raise HashfedError(f"--device = {brief(device)}: must be cpu or cuda")
    given = overrides(arguments)
    settings = load_config(arguments.config, given)
    vocabularies = sorted(set(arguments.vocabularies))
    works = [random_work(settings, words, max(arguments.cohorts)) for words in vocabularies]
    if arguments.config is not None or any(name.startswith("data.") for name in given):
        works.append(real_work(settings))
    plan = Plan(
        works=works,
        budgets=list(dict.fromkeys(arguments.budgets)),
        cohorts=arguments.cohorts,
        device=device,
        seconds=QUICK_SECONDS if arguments.quick else SECONDS,
        quick=arguments.quick,
    )
    plan.check()
    return plan


def real_work(settings: Config) -> Work:
    """The clients of a data set, as configured."""
    return Work(Path(settings.data.source).name, settings, None, lambda: load_data(settings))


BENCH = Command(
    name="bench device",
    help="client-steps per second of a cohort as one batch on this machine's device",
    description="Time rounds of the cohort engine beside a plain PyTorch loop, pfl-research (where it is "
    "installed, and this a source checkout; random clients only) and the bare matrix products, in at most "
    "4 minutes: the paper's model with random clients, who have 4 steps of 16 full sentences of 20 words, "
    "and with CONFIG or --data.source also the clients of a data set with the model of the configuration. "
    "What does not fit into the time or the memory is left out, and said. Settings of retrieval, selection, "
    "clients and server hold for both. "
    "Such as: hashfed bench device --quick; hashfed bench device --device cuda --json gpu.json; "
    "hashfed bench device --data.source chitchat --cohorts 64.",
    run=bench,
    add=add_bench,
    settings=True,
    usage="[--quick] [--device DEVICE] [--json FILE] [...]",
    besides=DECIDED,
)
