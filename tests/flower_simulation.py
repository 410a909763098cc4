"""Plays a configuration in Flower's simulation (Ray); run as a program: config.yaml folder nodes."""

import sys
from pathlib import Path
from unittest.mock import patch

from flwr.app import Context
from flwr.serverapp import Grid, ServerApp
from flwr.simulation import run_simulation

from hashfed.config import load_config
from hashfed.engines.flower.client_app import app as client_app
from hashfed.engines.flower.rounds import FlowerRounds
from hashfed.runs import train

if __name__ == "__main__":
    config = load_config(Path(sys.argv[1]), {"output": sys.argv[2]})
    server_app = ServerApp()

    @server_app.main()
    def main(grid: Grid, context: Context) -> None:
        """Train into the folder; the memory of a client is not measured."""
        measured = {"memory_baseline": 1, "memory_peak": 2}
        with patch.object(sys.modules[train.__module__], "measure_device_memory", lambda *_: measured):
            train(config, None, lambda config, data, stop: FlowerRounds(grid, config, data))

    run_simulation(
        server_app=server_app,
        client_app=client_app,
        num_supernodes=int(sys.argv[3]),
        backend_config={
            "client_resources": {"num_cpus": 1, "num_gpus": 0.0},
            "init_args": {"num_cpus": 2},
        },
    )
