"""Every peer does the work that hashfed's model does."""

import importlib.util
import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch.nn import functional

from hashfed.bench.programs import environment
from hashfed.models import Batch, Targets
from hashfed.models.protocol import OUTPUT
from hashfed.models.transformer import Transformer
from small import PATIENCE

PEERS = {
    "plain_torch": ["torch"],
    "pfl_research": ["pfl"],
    "flower_simulation": ["flwr", "ray"],
    "fedjax_library": ["fedjax"],
}
"""Packages that each needs."""
SIZE, CLIENTS, SENTENCES, LENGTH, BATCH, RATE = 50, 3, 4, 5, 2, 0.5
MODEL = Transformer(embedding=8, attention=8, heads=2, ffn=16, blocks=2)


@dataclass(frozen=True)
class Expected:
    """What a peer is to report."""

    losses: list[float]
    rows: float
    body: float


def play_one_round(inputs: torch.Tensor, targets: torch.Tensor) -> tuple[list[float], list[torch.Tensor]]:
    """Losses of the first client, and rows and body after the round."""
    start = MODEL.init({"output": SIZE}, np.random.default_rng(1))
    server = [start.rows, *start.body.values()]
    losses: list[float] = []
    changes = [torch.zeros_like(value) for value in server]
    for client in range(CLIENTS):
        local = [value.clone().requires_grad_() for value in server]
        rows, body = local[0], dict(zip(start.body, local[1:], strict=True))
        optimizer = torch.optim.SGD(local, lr=RATE)
        for batch in torch.arange(SENTENCES).split(BATCH):
            everywhere = torch.ones(len(batch), LENGTH, dtype=torch.bool)
            columns = {"inputs": inputs[client, batch].long(), "predicted": everywhere}
            asked = Batch(columns, {"inputs": OUTPUT}, Targets(targets[client, batch].flatten().long()))
            queries = MODEL.queries(body, {OUTPUT: rows}, MODEL.pack(asked))
            loss = functional.cross_entropy(queries @ rows.T, targets[client, batch].flatten().long())
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            if client == 0:
                losses.append(loss.item())
        for change, after, before in zip(changes, local, server, strict=True):
            change += (after.detach() - before) / CLIENTS
    return losses, [value + change for value, change in zip(server, changes, strict=True)]


@pytest.fixture(scope="module")
def workload(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Expected]:
    rng = np.random.default_rng(2)
    inputs, targets = (
        torch.from_numpy(rng.integers(SIZE, size=(CLIENTS, SENTENCES, LENGTH), dtype=np.int32))
        for _ in range(2)
    )
    start = MODEL.init({"output": SIZE}, np.random.default_rng(1))
    tensors = {"rows": start.rows, "inputs": inputs, "targets": targets}
    tensors |= {f"body.{name}": value for name, value in start.body.items()}
    metadata = {
        "learning_rate": str(RATE),
        "batch_size": str(BATCH),
        "heads": str(MODEL.heads),
        "server_learning_rate": "1.0",
    }
    path = tmp_path_factory.mktemp("peers") / "workload.safetensors"
    save_file(tensors, path, metadata=metadata)
    losses, (rows, *body) = play_one_round(inputs, targets)
    flat = torch.cat([value.flatten() for value in body])
    return path, Expected(losses, rows.double().norm().item(), flat.double().norm().item())


def run(peer: str, path: Path, *options: str) -> dict[str, Any]:
    """What the peer prints last."""
    command = [sys.executable, "-m", f"benchmarks.simulation.peers.{peer}", str(path), *options]
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=PATIENCE, check=False, env=environment()
    )
    assert done.returncode == 0, done.stderr
    result: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return result


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("peer", PEERS)
def test_same_losses_and_parameters_as_hashfeds_model(
    peer: str, workers: int, workload: tuple[Path, Expected]
) -> None:
    for package in PEERS[peer]:
        if importlib.util.find_spec(package) is None:
            pytest.skip(f"{sys.executable} has no package {package}")
    path, expected = workload
    result = run(peer, path, f"--workers={workers}", "--rounds=2")
    assert result["peer"] == peer
    assert result["losses"] == pytest.approx(expected.losses, rel=1e-5)
    assert result["norm_after"]["rows"] == pytest.approx(expected.rows, rel=1e-6)
    assert result["norm_after"]["body"] == pytest.approx(expected.body, rel=1e-6)
    assert result["steps"] == CLIENTS * 2
    assert len(result["round_seconds"]) == 2
    assert min(result["round_seconds"]) > 0
    assert result["peak_rss"] > 1 << 20
