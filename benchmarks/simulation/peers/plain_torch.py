"""Peer: federated averaging in PyTorch alone, one process of one thread per core.

The processes live for the whole run. The server's parameters and the sum of each process's changes lie in
shared memory, so that nothing is copied through a pipe.
"""

import time
from multiprocessing.connection import Connection
from pathlib import Path

import torch
import torch.multiprocessing

from benchmarks.simulation.peers.torch_model import (
    ROWS,
    NextWordModel,
    client_tensors,
    initial_state,
    train_client,
)
from benchmarks.simulation.peers.workload import (
    load_workload,
    norms,
    parse_arguments,
    peak_memory,
    write_result,
)

State = dict[str, torch.Tensor]


def serve(path: Path, first: int, stride: int, server: State, change: State, connection: Connection) -> None:
    """Train every ``stride``-th client from ``first`` in each round; ``change`` is their summed change.

    Args:
        path: of the workload.
        first: client.
        stride: number of processes.
        server: parameters to start from, in shared memory.
        change: to fill, in shared memory.
        connection: True starts a round, answered with the losses of the first client; False ends.

    """
    torch.set_num_threads(1)
    workload = load_workload(path)
    model = NextWordModel(workload)
    optimizer = torch.optim.SGD(model.parameters(), lr=workload.learning_rate)
    clients = client_tensors(workload)[first::stride]
    while connection.recv():
        losses = []
        for total in change.values():
            total.zero_()
        for client in clients:
            model.load_state_dict(server)
            losses.append(train_client(model, optimizer, client, workload.batch_size))
            for name, value in model.state_dict().items():
                change[name].add_(value - server[name])
        connection.send(losses[0] if losses else [])


def main() -> None:
    """Play the rounds and print the result."""
    arguments = parse_arguments()
    torch.set_num_threads(1)
    workload = load_workload(arguments.path)
    server = {name: value.share_memory_() for name, value in initial_state(workload).items()}
    context = torch.multiprocessing.get_context("spawn")
    changes, connections = [], []
    for index in range(arguments.workers):
        change = {name: torch.zeros_like(value).share_memory_() for name, value in server.items()}
        here, there = context.Pipe()
        task = (arguments.path, index, arguments.workers, server, change, there)
        context.Process(target=serve, args=task, daemon=True).start()
        there.close()  # so that the death of the process is seen as the end of the pipe
        changes.append(change)
        connections.append(here)

    losses: list[float] = []
    round_seconds: list[float] = []
    norm_after: dict[str, float] = {}
    for index in range(arguments.rounds):
        start = time.perf_counter()
        for connection in connections:
            connection.send(True)
        answers = [connection.recv() for connection in connections]
        for name, value in server.items():
            for change in changes:
                value.add_(change[name], alpha=1 / workload.clients)
        round_seconds.append(time.perf_counter() - start)
        if index == 0:
            losses = answers[0]
            norm_after = norms(
                server[ROWS].numpy(), [value.numpy() for name, value in server.items() if name != ROWS]
            )
    memory = peak_memory()
    for connection in connections:
        connection.send(False)
    write_result("plain_torch", "torch", workload, losses, round_seconds, norm_after, memory)


if __name__ == "__main__":
    main()
