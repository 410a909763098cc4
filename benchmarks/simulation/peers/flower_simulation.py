"""Peer: Flower's simulation with Ray, as many single-threaded clients at a time as cores.

Written as Flower's own PyTorch app is: a ServerApp that runs the FedAvg strategy, and a ClientApp that loads
the parameters, trains, and replies with its own. What a Ray process can keep from one client to the next
(data, module) it keeps.
"""

import functools
import importlib
import logging
import os
import time
from pathlib import Path
from typing import Any

import torch

from benchmarks.simulation.peers.torch_model import (
    ROWS,
    NextWordModel,
    client_tensors,
    initial_state,
    train_client,
)
from benchmarks.simulation.peers.workload import (
    Workload,
    load_workload,
    norms,
    parse_arguments,
    peak_memory,
    write_result,
)

OFFLINE = {
    "FLWR_DISABLE_UPDATE_CHECK": "1",
    "FLWR_TELEMETRY_ENABLED": "0",
    "RAY_USAGE_STATS_ENABLED": "0",
}
"""Neither library is to reach for the network."""


class Client:
    """What a Ray process keeps.

    Args:
        path: of the workload.

    """

    def __init__(self, path: str) -> None:
        torch.set_num_threads(1)
        self.workload = load_workload(path)
        self.model = NextWordModel(self.workload)
        self.clients = client_tensors(self.workload)


client_of = functools.cache(Client)
"""The process's client of a path."""


def train(message: Any, context: Any) -> Any:
    """A client's part of a round."""
    app: Any = importlib.import_module("flwr.app")
    own, index = client_of(message.content["config"]["workload"]), context.node_config["partition-id"]
    own.model.load_state_dict(message.content["arrays"].to_torch_state_dict())
    optimizer = torch.optim.SGD(own.model.parameters(), lr=own.workload.learning_rate)
    losses = train_client(own.model, optimizer, own.clients[index], own.workload.batch_size)
    content = app.RecordDict(
        {
            "arrays": app.ArrayRecord(own.model.state_dict()),
            "metrics": app.MetricRecord(
                {"num-examples": own.workload.inputs.shape[1], "client": index, "losses": losses}
            ),
        }
    )
    return app.Message(content=content, reply_to=message)


class Server:
    """Runs the strategy, and watches it.

    Args:
        path: of the workload.
        rounds: to play.

    """

    def __init__(self, path: Path, rounds: int) -> None:
        self._path, self._rounds = path, rounds
        self.workload: Workload = load_workload(path)
        self.losses: list[float] = []
        self.round_seconds: list[float] = []
        self.norm_after: dict[str, float] = {}
        self.memory: int | None = None
        self._start = 0.0

    def run(self, grid: Any, context: Any) -> None:
        """The ServerApp's main function."""
        app: Any = importlib.import_module("flwr.app")
        strategy: Any = importlib.import_module("flwr.serverapp.strategy")
        clients = self.workload.clients
        fedavg = strategy.FedAvg(
            fraction_train=1.0,
            fraction_evaluate=0.0,
            # Else the first round takes those clients that are registered by then.
            min_train_nodes=clients,
            min_available_nodes=clients,
            train_metrics_aggr_fn=self._first_client,
        )
        result = fedavg.start(
            grid=grid,
            initial_arrays=app.ArrayRecord(initial_state(self.workload)),
            num_rounds=self._rounds,
            train_config=app.ConfigRecord({"workload": str(self._path)}),
            evaluate_fn=self._after_round,
        )
        self.losses = list(result.train_metrics_clientapp[1]["losses"])

    def _after_round(self, round: int, arrays: Any) -> None:
        """Flower calls it before the first round, with 0, and after each."""
        if round > 0:
            self.round_seconds.append(time.perf_counter() - self._start)
        if round == 1:
            state = {name: value.numpy() for name, value in arrays.items()}
            self.norm_after = norms(state.pop(ROWS), state.values())
        if round == self._rounds:
            self.memory = peak_memory()  # Ray still runs
        self._start = time.perf_counter()

    @staticmethod
    def _first_client(replies: list[Any], weighted_by: str) -> Any:
        return next(reply["metrics"] for reply in replies if reply["metrics"]["client"] == 0)


def main() -> None:
    """Play the rounds and print the result."""
    os.environ |= OFFLINE
    arguments = parse_arguments()
    clientapp: Any = importlib.import_module("flwr.clientapp")
    serverapp: Any = importlib.import_module("flwr.serverapp")
    simulation: Any = importlib.import_module("flwr.simulation")
    logging.getLogger("flwr").setLevel(logging.ERROR)
    torch.set_num_threads(1)
    server = Server(arguments.path, arguments.rounds)
    client_app, server_app = clientapp.ClientApp(), serverapp.ServerApp()
    client_app.train()(train)
    server_app.main()(server.run)
    simulation.run_simulation(
        server_app=server_app,
        client_app=client_app,
        num_supernodes=server.workload.clients,
        backend_config={
            "client_resources": {"num_cpus": 1, "num_gpus": 0.0},
            "init_args": {"num_cpus": arguments.workers},
        },
    )
    write_result(
        "flower_simulation",
        "flwr",
        server.workload,
        server.losses,
        server.round_seconds,
        server.norm_after,
        server.memory,
    )


if __name__ == "__main__":
    # Under its own name, by which Ray's processes import it: what __main__ defines is sent to them by value
    # with each message, and keeps nothing.
    importlib.import_module("benchmarks.simulation.peers.flower_simulation").main()
