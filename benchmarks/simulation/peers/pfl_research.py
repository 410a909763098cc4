"""Peer: Apple's pfl-research, in as many processes as its guide says to start with torchrun.

See "Fast distributed simulations" in pfl's documentation: the clients of a round are shared out among the
processes, and the changes meet in an all-reduce. On a GPU it is one process, as pfl has one for each.
"""

import importlib
import os
import sys
import time
from collections.abc import Iterator
from typing import Any

import torch

from benchmarks.simulation.peers.torch_model import ROWS, NextWordModel, client_tensors
from benchmarks.simulation.peers.workload import (
    Arguments,
    Workload,
    load_workload,
    norms,
    parse_arguments,
    peak_memory,
    write_result,
)


class Model(NextWordModel):
    """With what pfl asks of a module, and a note of the first losses.

    Args:
        workload: see ``NextWordModel``.
        kept: number of losses to keep.

    """

    def __init__(self, workload: Workload, kept: int) -> None:
        super().__init__(workload)
        self.losses: list[float] = []
        self._kept = kept

    def loss(self, inputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        """See ``NextWordModel``."""
        loss = super().loss(inputs, targets)
        if len(self.losses) < self._kept:
            self.losses.append(loss.item())
        return loss

    def metrics(self, inputs: torch.Tensor, targets: torch.Tensor) -> dict[str, Any]:
        """Nothing: pfl evaluates clients in its first round however rarely it is asked to."""
        return {}


def start_processes(workers: int) -> None:
    """Become torchrun with this module in ``workers`` processes."""
    os.environ.setdefault("OMP_NUM_THREADS", "1")  # as torchrun does, with a warning
    options = ["--standalone", "--nnodes=1", f"--nproc-per-node={workers}"]
    module = ["--module", "benchmarks.simulation.peers.pfl_research"]
    command = [sys.executable, "-m", "torch.distributed.run", *options, *module, *sys.argv[1:]]
    os.execv(sys.executable, command)


def watch(device: str, round_seconds: list[float], norm_after: dict[str, float]) -> Any:
    """A callback that notes the seconds of each round, and the norms after the first."""

    def now() -> float:
        if device == "cuda":
            torch.cuda.synchronize()
        return time.perf_counter()

    callback: Any = importlib.import_module("pfl.callback.base")
    metrics: Any = importlib.import_module("pfl.metrics")

    class Watch(callback.TrainingProcessCallback):  # type: ignore[misc]
        """Takes the time of each round."""

        def on_train_begin(self, *, model: Any) -> Any:
            self.start = now()
            return metrics.Metrics()

        def after_central_iteration(
            self, aggregate_metrics: Any, model: Any, *, central_iteration: int
        ) -> tuple[bool, Any]:
            round_seconds.append(now() - self.start)
            if central_iteration == 0:
                state = {
                    name: value.cpu().numpy() for name, value in model.pytorch_model.state_dict().items()
                }
                norm_after.update(norms(state.pop(ROWS), state.values()))
            self.start = now()
            return False, metrics.Metrics()

    return Watch()


def all_clients(workload: Workload, device: str) -> Any:
    """A data set whose cohort is every client, in each round, and which lies on the device."""
    dataset: Any = importlib.import_module("pfl.data.dataset")
    federated_dataset: Any = importlib.import_module("pfl.data.federated_dataset")
    operations: Any = importlib.import_module("pfl.internal.ops.pytorch_ops")

    class AllClients(federated_dataset.FederatedDatasetBase):  # type: ignore[misc]
        """Every client in each round.

        pfl's own dataset, with a sampler that takes the clients in turn, does so only where the number of
        processes divides the number of clients; otherwise the processes' samplers fall out of step.
        """

        def __init__(self) -> None:
            super().__init__()
            # Made once: a dataset keeps its batches.
            self._datasets = [
                dataset.Dataset(tuple(part.to(device) for part in client))
                for client in client_tensors(workload)
            ]

        def __next__(self) -> Any:
            raise NotImplementedError("whole rounds only")

        def get_cohort(self, cohort_size: int) -> Iterator[tuple[Any, int]]:
            first, stride = operations.distributed.global_rank, operations.distributed.world_size
            for client in self._datasets[:cohort_size][first::stride]:
                yield client, self._get_seed()

    return AllClients()


def play(arguments: Arguments) -> None:
    """All rounds in this process, which is one of several; the first prints the result."""
    torch.set_num_threads(1)
    algorithm: Any = importlib.import_module("pfl.algorithm.federated_averaging")
    algorithm_base: Any = importlib.import_module("pfl.algorithm.base")
    simulate: Any = importlib.import_module("pfl.aggregate.simulate")
    hyperparam: Any = importlib.import_module("pfl.hyperparam")
    operations: Any = importlib.import_module("pfl.internal.ops.pytorch_ops")
    pytorch: Any = importlib.import_module("pfl.model.pytorch")

    workload = load_workload(arguments.path)
    model = Model(workload, workload.steps_per_client)
    round_seconds: list[float] = []
    norm_after: dict[str, float] = {}
    federated = all_clients(workload, arguments.device)
    algorithm.FederatedAveraging().run(
        algorithm_base.NNAlgorithmParams(
            central_num_iterations=arguments.rounds,
            evaluation_frequency=arguments.rounds + 1,
            train_cohort_size=workload.clients,
            val_cohort_size=None,
        ),
        simulate.SimulatedBackend(training_data=federated, val_data=federated),
        pytorch.PyTorchModel(
            model,
            local_optimizer_create=torch.optim.SGD,
            central_optimizer=torch.optim.SGD(model.parameters(), lr=1.0),
        ),
        hyperparam.NNTrainHyperParams(
            local_learning_rate=workload.learning_rate,
            local_num_epochs=1,
            local_batch_size=workload.batch_size,
        ),
        callbacks=[watch(arguments.device, round_seconds, norm_after)],
        send_metrics_to_platform=False,
    )
    memory = torch.tensor(float(peak_memory(descendants=False) or 0), device=arguments.device)
    operations.distributed.all_reduce([memory])
    if operations.distributed.global_rank == 0:
        peak = int(memory) or None
        write_result("pfl_research", "pfl", workload, model.losses, round_seconds, norm_after, peak)


def main() -> None:
    """Play the rounds and print the result."""
    arguments = parse_arguments(("cpu", "cuda"))
    os.environ["PFL_PYTORCH_DEVICE"] = arguments.device
    if arguments.device == "cpu":
        os.environ["CUDA_VISIBLE_DEVICES"] = ""  # pfl's processes would talk by way of the GPU
    if arguments.workers > 1 and "LOCAL_RANK" not in os.environ:
        start_processes(arguments.workers)
    play(arguments)


if __name__ == "__main__":
    main()
