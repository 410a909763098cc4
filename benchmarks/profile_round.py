"""Where the time of one client's round goes, part by part; prints JSON (milliseconds of one thread, medians).

python -m benchmarks.profile_round --vocabulary 80000 --budget own+1%
"""

import argparse
import json
import statistics
import time
from collections import defaultdict
from collections.abc import Callable
from typing import Any

import torch

from benchmarks.client.workload import Workload
from hashfed.cli.budgets import budget
from hashfed.engines.allocator import keep_memory
from hashfed.federated import client, server
from hashfed.models import OutputGradients, Transformer, output_layer

PARTS: list[tuple[Any, str, str]] = [
    (client, "declare", "declare"),
    (server, "welcome", "gather own rows"),
    (client, "hash_queries", "hash: queries and keys"),
    (server, "retrieve", "look up and select"),
    (server, "planes_of", "planes of the tail"),
    (server, "send_rows", "gather selected rows"),
    (client, "join_rows", "join rows"),
    (client, "train", "train"),
    (Transformer, "queries", "queries, forward (hashing's too)"),
    (client, "output_gradients", "train: output layer, forward and gradients of queries"),
    (torch.Tensor, "backward", "train: backward below the output layer"),
    (output_layer, "_exponentiate", "train: of these, products with the rows and exponentials"),
    (OutputGradients, "add_to", "train: output rows moved"),
]


def timed(function: Callable[..., Any], seconds: dict[str, float], name: str) -> Callable[..., Any]:
    """``function``, whose time is added to ``seconds[name]``."""

    def wrapper(*arguments: Any, **named: Any) -> Any:
        start = time.perf_counter()
        result = function(*arguments, **named)
        seconds[name] += time.perf_counter() - start
        return result

    return wrapper


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--vocabulary", type=int, default=80_000)
    parser.add_argument("--budget", type=budget, default=budget("own+1%"))
    parser.add_argument("--repeats", type=int, default=7)
    arguments = parser.parse_args()
    keep_memory()
    torch.set_num_threads(1)
    workload = Workload(arguments.vocabulary)
    workload.round(arguments.budget)
    seconds: dict[str, float] = defaultdict(float)
    for owner, name, label in PARTS:
        setattr(owner, name, timed(getattr(owner, name), seconds, label))
    rounds = []
    for _ in range(arguments.repeats):
        seconds.clear()
        total, report, tail = workload.round(arguments.budget)
        rounds.append({"whole round": total, **seconds, "server: rows moved for the tail, in a cohort": tail})
    parts = {name: 1e3 * statistics.median(item[name] for item in rounds) for name in rounds[0]}
    sizes = {"rows": report.rows, "predictions": report.predictions, "gflop": report.flops / 1e9}
    print(json.dumps({"vocabulary": arguments.vocabulary, **sizes, "milliseconds": parts}, indent=1))


if __name__ == "__main__":
    main()
