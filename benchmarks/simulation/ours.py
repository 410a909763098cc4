"""hashfed as a candidate; run as a module it plays a scenario and prints the result as JSON, like a peer."""

import json
import sys
import time

import hashfed
from benchmarks.simulation.peers.workload import norms, peak_memory
from benchmarks.simulation.scenario import Scenario
from hashfed.engines.allocator import keep_memory
from hashfed.engines.local.simulator import Simulation


def main() -> None:
    """Play the rounds of the scenario given as JSON."""
    scenario = Scenario(**json.loads(sys.argv[1]))
    keep_memory()
    seconds, norm_after = [], {}
    with Simulation(scenario.config(), scenario.data()) as simulation:
        for _ in range(scenario.rounds):
            start = time.perf_counter()
            simulation.run_round()
            seconds.append(time.perf_counter() - start)
            if simulation.state.round == 1:
                parameters = simulation.state.parameters
                body = [value.numpy() for value in parameters.body.values()]
                norm_after = norms(parameters.rows.numpy(), body)
        memory = peak_memory()
    steps = len(scenario.batches)
    result = {
        "peer": "hashfed",
        "version": hashfed.__version__,
        "losses": [scenario.first_loss()] * steps,
        "round_seconds": seconds,
        "steps": steps * scenario.clients,
        "peak_rss": memory,
        "norm_after": norm_after,
    }
    sys.stdout.write(json.dumps(result) + "\n")


if __name__ == "__main__":
    main()
