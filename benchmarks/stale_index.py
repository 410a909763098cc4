"""What a stale index and reused keys cost in coverage; prints JSON.

Trains, and at some rounds compares, on held-out clients and for each age r: an index of the rows r rounds
ago with today's keys (``retrieval.refresh``: r is the largest age, the mean is about half), and today's
index with keys that a client computed r rounds ago with that round's model. Coverage is of today's softmax
mass, as a share of the optimum.

    python -m benchmarks.stale_index --rounds 100
"""

import argparse
import json
import statistics
import sys

import numpy as np

from benchmarks.index.measure import best_rows, measure_truth
from benchmarks.index.problem import (
    LEAST_SENTENCES,
    ClientQueries,
    Problem,
    client_queries,
)
from hashfed import Simulation, load_data, make_config
from hashfed.models import Parameters
from hashfed.randomness import stream
from hashfed.retrieval import budget_rows, build_index, retrieval_settings, select

INDEXES = {
    "centroids 32": retrieval_settings("query-centroids"),
    "collisions K8 L64 × frequency": retrieval_settings("simhash-collisions"),
    "collisions K8 L64": retrieval_settings("simhash-collisions", prior=0),
}


def main() -> None:
    """Train, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--rounds", type=int, default=100)
    parser.add_argument("--measure", type=int, nargs="+", default=[40, 60, 80, 100], help="rounds")
    parser.add_argument("--ages", type=int, nargs="+", default=[0, 1, 2, 5, 10, 25])
    parser.add_argument("--clients", type=int, default=16)
    parser.add_argument("--budget", type=float, default=0.1)
    parser.add_argument("--workers", type=int, default=1)
    arguments = parser.parse_args()
    config = make_config({"retrieval": {"method": "full"}, "workers": arguments.workers})
    data = load_data(config)
    able = [client.examples for client in data.held_out if len(client.examples) >= LEAST_SENTENCES]
    chosen = stream(config.seed, "stale clients").choice(len(able), arguments.clients, replace=False)
    sentences = [able[position].take(np.arange(min(64, len(able[position])))) for position in chosen]
    past: dict[int, Parameters] = {}
    shares: dict[tuple[str, str, int], list[float]] = {}
    with Simulation(config, data) as simulation:

        def queries(parameters: Parameters) -> list[ClientQueries]:
            return [client_queries(simulation.model, parameters, part) for part in sentences]

        for _ in range(arguments.rounds):
            simulation.run_round()
            number, now = simulation.state.round, simulation.state.parameters
            if any(number == at - age for at in arguments.measure for age in arguments.ages):
                past[number] = now.clone()
            if number not in arguments.measure:
                continue
            print(f"measuring at round {number}", file=sys.stderr)
            problem = Problem("now", now.rows, data.label_counts, queries(now))
            truth = measure_truth(problem)
            for name, settings in INDEXES.items():
                for age in arguments.ages:
                    old = past[number - age]
                    pairs = {
                        "stale index": (old.rows, problem.clients),
                        "reused keys": (now.rows, queries(old)),
                    }
                    for kind, (rows, asked) in pairs.items():
                        index = build_index(rows, settings, data.label_counts, config.seed)
                        for client, own in zip(asked, truth, strict=True):
                            found = index.lookup(index.encoder.encode(client.queries))
                            count = budget_rows(arguments.budget, len(rows))
                            ids = select(
                                client.own, found, len(rows), count, 0, False, np.random.default_rng(0)
                            ).ids
                            optimum = own.mass[best_rows(client.own, own.mass, arguments.budget)].sum()
                            shares.setdefault((kind, name, age), []).append(own.mass[ids].sum() / optimum)
    print(
        json.dumps(
            [
                {"what": kind, "index": name, "age": age, "coverage_of_optimum": statistics.fmean(values)}
                for (kind, name, age), values in shares.items()
            ],
            indent=1,
        )
    )


if __name__ == "__main__":
    main()
