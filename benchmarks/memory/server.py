"""The server's peak memory while it simulates rounds, by the size of the cohort.

Run as a module it is that server: it simulates what its argument says, and prints its memory as JSON. Its
worker processes, if any, have memory of their own, which is not counted; what they share with it is.
"""

import json
import sys
from collections.abc import Callable, Sequence
from typing import Any

from hashfed.bench.synthetic import synthetic_text
from hashfed.config import make_config
from hashfed.engines.allocator import keep_memory
from hashfed.engines.device_memory import resident_peak, run_fresh
from hashfed.engines.local.simulator import Simulation

WORDS, BUDGET = 20_000, 0.1
SENTENCES, LENGTH = 2, 5
"""Of each client: few, for the server's memory does not depend on them."""


def server_memory(
    cohorts: Sequence[int], workers: Sequence[int], rounds: int, tell: Callable[[str], None]
) -> dict[str, Any]:
    """Measure all cohorts with all numbers of workers; all have as many clients as the largest cohort.

    Args:
        cohorts: clients per round.
        workers: processes that simulate clients; 1: the server's own.
        rounds: simulated by each process.
        tell: told of each measurement before it begins.

    Returns:
        The sizes, and ``processes``: for each the cohort, the workers, ``baseline`` (peak resident bytes once
        the libraries are loaded), ``ready`` (before the first round), ``process`` (after the last),
        ``memory`` (above the baseline), and ``process_to_least`` and ``memory_to_least``, the ratios
        to the smallest cohort with as many workers.

    Raises:
        HashfedError: where a process fails.

    """
    found: list[dict[str, Any]] = []
    for count in workers:
        least: dict[str, Any] | None = None
        for cohort in sorted(cohorts):
            tell(f"server, cohort {cohort:,}, workers {count}")
            task = {"cohort": cohort, "workers": count, "clients": max(cohorts), "rounds": rounds}
            entry: dict[str, Any] = {"cohort": cohort, "workers": count} | run_fresh(
                __name__, json.dumps(task)
            )
            entry["memory"] = entry["process"] - entry["baseline"]
            least = least or entry
            for name in ("process", "memory"):
                entry[f"{name}_to_least"] = entry[name] / least[name]
            found.append(entry)
    return {
        "words": WORDS,
        "budget": BUDGET,
        "sentences": SENTENCES,
        "length": LENGTH,
        "clients": max(cohorts),
        "rounds": rounds,
        "processes": found,
    }


def _server_process(cohort: int, workers: int, clients: int, rounds: int) -> dict[str, int]:
    keep_memory()
    baseline = resident_peak()
    config = make_config(
        {
            "data": {"vocabulary": WORDS, "sentence_length": LENGTH},
            "selection": {"budget": BUDGET},
            "client": {"learning_rate": 0.1},
            "cohort": cohort,
            "workers": workers,
        }
    )
    with Simulation(config, synthetic_text(WORDS, clients, SENTENCES, LENGTH)) as simulation:
        ready = resident_peak()
        for _ in range(rounds):
            simulation.run_round()
        return {"baseline": baseline, "ready": ready, "process": resident_peak()}


if __name__ == "__main__":
    sys.stdout.write(json.dumps(_server_process(**json.loads(sys.argv[1]))))
