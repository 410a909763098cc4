"""A round in which many clients add to one sum under masks, in the simulator; prints JSON.

Random texts, the paper's model, 80,000 words of which all clients hold a tenth: how long a round takes and
how much memory the server's process and the largest worker take, all masks, shares and keys included.

    python -m benchmarks.many_masks --clients 1000
"""

import argparse
import json
import resource
import sys
import time
from collections.abc import Sequence

from hashfed.bench.synthetic import synthetic_text
from hashfed.config import make_config
from hashfed.engines.local.simulator import Simulation, workers_of

SENTENCES, LENGTH = 16, 10


def measure(clients: int, words: int, rows: str, rounds: int) -> dict[str, object]:
    """Seconds of each round, and peak resident bytes."""
    config = make_config(
        {
            "data": {"source": "synthetic", "vocabulary": words, "sentence_length": LENGTH},
            "retrieval": {"method": "frequency"},
            "selection": {"delivery": "secure", "budget": 0.1},
            "secure": {"rows": rows},
            "client": {"examples": SENTENCES},
            "cohort": clients,
        }
    )
    data = synthetic_text(words, clients, SENTENCES, LENGTH)
    seconds, report = [], None
    with Simulation(config, data) as simulation:
        for _ in range(rounds):
            start = time.perf_counter()
            report = simulation.run_round().reports[0]
            seconds.append(round(time.perf_counter() - start, 1))
    assert report is not None
    unit = 1 if sys.platform == "darwin" else 1024
    return {
        "clients": clients,
        "words": words,
        "rows": rows,
        "workers": workers_of(config),
        "seconds": seconds,
        "bytes_of_a_client": report.bytes,
        "peak_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit,
        "peak_bytes_of_a_worker": resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * unit,
    }


def main(arguments: Sequence[str] | None = None) -> None:
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.many_masks", description=__doc__)
    parser.add_argument("--clients", type=int, default=1000)
    parser.add_argument("--words", type=int, default=80_000)
    parser.add_argument("--rows", choices=("all", "common"), default="common")
    parser.add_argument("--rounds", type=int, default=1)
    given = parser.parse_args(arguments)
    print(json.dumps(measure(given.clients, given.words, given.rows, given.rounds)))


if __name__ == "__main__":
    main(sys.argv[1:])
