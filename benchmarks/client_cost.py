"""What budgets save a device: memory, bytes, parameters and seconds of a client's round; prints JSON.

Ratios are to all rows, and of speed also to plain PyTorch, within this run: what ``benchmarks.client`` (one
thread, candidates in turn, medians) and ``benchmarks.memory`` (fresh processes) find at each budget, for one
client with 64 full sentences of 20 words. What the server spends on the client is beside it.

    python -m benchmarks.client_cost --vocabulary 80000 --budgets own+1%
"""

import argparse
import json
import sys
from typing import Any

from benchmarks.client.run import bench_client
from benchmarks.memory.clients import client_memory
from hashfed.cli.budgets import budget, check_budgets
from hashfed.cost.budgets import Budget, budget_label


def summary(words: int, budgets: list[Budget], repeats: int) -> dict[str, Any]:
    """Measure, and put together what is known of each budget."""

    def tell(what: str) -> None:
        print(what, file=sys.stderr)

    timed = bench_client(words, budgets, repeats, tell)
    memory = client_memory(words, budgets, tell)["budgets"]
    found: dict[str, Any] = {}
    for label in (budget_label(one) for one in [1.0, *budgets]):
        entry = timed["candidates"][f"hashfed, {label}"]
        moved, full = (sum(timed["candidates"][f"hashfed, {one}"]["bytes"].values()) for one in (label, "1"))
        found[label] = {
            "rows": entry["rows"],
            "own_rows": entry["own_rows"],
            "memory": memory[label]["memory"],
            "memory_to_full": memory[label]["memory_to_full"],
            "bytes": entry["bytes"],
            "bytes_to_full": moved / full,
            "ms_per_step": entry["ms_per_step"],
            "ms_of_parts": entry["parts"],
            "times_faster_than_full": entry["to_full"],
            "times_faster_than_plain_pytorch": entry["to_plain_pytorch"],
            "times_faster_than_plain_pytorch_default_malloc": entry["to_plain_pytorch_default_malloc"],
            "server_seconds": entry["server_seconds"],
        }
    return {"rows": timed["rows"], "threads": 1, "repeats": repeats, "budgets": found}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--vocabulary", type=int, default=80_000)
    parser.add_argument("--budgets", type=budget, nargs="+", default=[budget("own+1%"), 0.1])
    parser.add_argument("--repeats", type=int, default=7)
    arguments = parser.parse_args()
    check_budgets(arguments.budgets)
    print(json.dumps(summary(arguments.vocabulary, arguments.budgets, arguments.repeats), indent=1))


if __name__ == "__main__":
    main()
