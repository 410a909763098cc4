"""What every peer is given and must report.

Peers are run as modules, by an interpreter that may lack hashfed: they import only their neighbours.
"""

import argparse
import importlib.metadata
import json
import os
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from safetensors import safe_open


@dataclass(frozen=True)
class Workload:
    """A model and the sentences of some clients; every position of a sentence is predicted.

    Attributes:
        rows: (n, d) float32, of the input and the output layer.
        body: all other parameters by name.
        inputs: (clients, sentences, T) int32.
        targets: the same shape, the row to predict at each position.
        learning_rate: of the clients.
        batch_size: sentences per step.
        heads: of attention.

    """

    rows: np.ndarray
    body: dict[str, np.ndarray]
    inputs: np.ndarray
    targets: np.ndarray
    learning_rate: float
    batch_size: int
    heads: int

    @property
    def clients(self) -> int:
        """All take part in each round."""
        return len(self.inputs)

    @property
    def steps_per_client(self) -> int:
        """Batches of one epoch."""
        return len(range(0, self.inputs.shape[1], self.batch_size))

    @property
    def steps(self) -> int:
        """Steps of all clients in one round."""
        return self.clients * self.steps_per_client

    @property
    def blocks(self) -> int:
        """Of the transformer."""
        return sum(name.endswith(".qkv.weight") for name in self.body)


def load_workload(path: Path | str) -> Workload:
    """Read a safetensors file.

    Raises:
        ValueError: where the server's learning rate is not 1; plain averaging has no other.

    """
    with safe_open(path, framework="numpy") as file:
        metadata = file.metadata()
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a mapping)
    if float(metadata["server_learning_rate"]) != 1.0:
        raise ValueError(f"server_learning_rate = {metadata['server_learning_rate']}: must be 1")
    body = {name.removeprefix("body."): value for name, value in tensors.items() if name.startswith("body.")}
    return Workload(
        rows=tensors["rows"],
        body=body,
        inputs=tensors["inputs"],
        targets=tensors["targets"],
        learning_rate=float(metadata["learning_rate"]),
        batch_size=int(metadata["batch_size"]),
        heads=int(metadata["heads"]),
    )


@dataclass(frozen=True)
class Arguments:
    """What a peer is asked for.

    Attributes:
        path: of the workload.
        workers: cores to use.
        rounds: to play.
        device: where to train, cpu or cuda.

    """

    path: Path
    workers: int
    rounds: int
    device: str = "cpu"


def parse_arguments(devices: Sequence[str] = ("cpu",)) -> Arguments:
    """Of the command line, the same for every peer; ``--device`` where it has a choice of ``devices``."""
    parser = argparse.ArgumentParser()
    parser.add_argument("path", type=Path, help="the workload, a safetensors file")
    parser.add_argument("--workers", type=int, default=2, help="cores to use")
    parser.add_argument("--rounds", type=int, default=3)
    if len(devices) > 1:
        parser.add_argument("--device", choices=devices, default=devices[0])
    parsed = vars(parser.parse_args())
    return Arguments(**parsed | {"path": parsed["path"].absolute()})


def norms(rows: np.ndarray, body: Iterable[np.ndarray]) -> dict[str, float]:
    """Euclidean norms in double precision: of the rows, and of all other parameters together."""
    squares = sum(float(np.square(value, dtype=np.float64).sum()) for value in body)
    return {"rows": float(np.square(rows, dtype=np.float64).sum()) ** 0.5, "body": squares**0.5}


def write_result(
    peer: str,
    package: str,
    workload: Workload,
    losses: Sequence[float],
    round_seconds: Sequence[float],
    norm_after: Mapping[str, float],
    peak_rss: int | None,
) -> None:
    """The result as one line of JSON.

    Args:
        peer: name of the script.
        package: whose version is told.
        workload: that was run.
        losses: of the first client's steps in the first round.
        round_seconds: wall time of each round.
        norm_after: see ``norms``, after the first round.
        peak_rss: bytes, see ``peak_memory``.

    """
    result = {
        "peer": peer,
        "version": importlib.metadata.version(package),
        "losses": list(losses),
        "round_seconds": list(round_seconds),
        "steps": workload.steps,
        "peak_rss": peak_rss,
        "norm_after": dict(norm_after),
    }
    # Libraries may have left half a line.
    sys.stdout.write(f"\n{json.dumps(result)}\n")
    sys.stdout.flush()


def peak_memory(descendants: bool = True) -> int | None:
    """Sum of the largest resident sizes of this process and of those below it that still run, bytes.

    Shared pages count once per process. None where the system has no /proc.

    Args:
        descendants: False: of this process alone.

    """
    if not Path("/proc/self/status").exists():
        return None
    status: dict[int, tuple[int, int]] = {}
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            text = (entry / "status").read_text()
        except OSError:  # ended meanwhile
            continue
        fields = dict(line.split(":", 1) for line in text.splitlines() if ":" in line)
        kilobytes = int(fields.get("VmHWM", "0 kB").split()[0])
        status[int(entry.name)] = (int(fields["PPid"]), 1024 * kilobytes)
    family = {os.getpid()}
    grew = descendants
    while grew:
        children = {pid for pid, (parent, _) in status.items() if parent in family} - family
        family |= children
        grew = bool(children)
    return sum(status[pid][1] for pid in family)
