from pathlib import Path

import pytest
import torch

from hashfed.engines.local.simulator import Simulation
from hashfed.errors import HashfedError
from small import small_config, small_data

needs_cuda = pytest.mark.skipif(not torch.cuda.is_available(), reason="torch finds no CUDA device here")


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_a_missing_device_is_named(texts: Path) -> None:
    with pytest.raises(HashfedError, match="device = cuda: torch finds no CUDA device"):
        Simulation(small_config(texts, device="cuda"), small_data(texts))


def test_one_process_uses_the_device(texts: Path) -> None:
    with pytest.raises(HashfedError, match="workers = 2: must be 1"):
        small_config(texts, device="cuda", workers=2)


@needs_cuda
@pytest.mark.parametrize("method", ["full", "frequency", "query-centroids", "simhash-collisions"])
@pytest.mark.parametrize("clip", [None, 0.1])
def test_the_same_rounds_on_cpu_and_gpu(texts: Path, method: str, clip: float | None) -> None:
    data, found = small_data(texts), []
    for device in ("cpu", "cuda"):
        config = small_config(texts, retrieval={"method": method}, client={"clip": clip}, device=device)
        with Simulation(config, data) as simulation:
            losses = [simulation.run_round().loss for _ in range(2)]
            found.append((losses, simulation.evaluate()["nll"]))
    assert_close(found)


PLANES: list[dict[str, object]] = [
    {"retrieval": {"method": "query-centroids"}, "selection": {"extra": 4, "planes": 5}},
    {"retrieval": {"method": "query-codes", "refresh": 2}, "selection": {"extra": 0, "planes": 3}},
    {
        "retrieval": {"method": "exact"},
        "selection": {"extra": 4},
        "server": {"clip": 0.05},
        "client": {"clip": 0.5, "epochs": 2},
    },
    {
        "retrieval": {"method": "frequency"},
        "selection": {"extra": 4, "points": "sketch"},
        "compression": {"rows": "float16", "updates": "int8", "error_feedback": True},
    },
]


@needs_cuda
@pytest.mark.parametrize("groups", PLANES, ids=lambda groups: str(groups["retrieval"]["method"]))
def test_the_same_rounds_with_planes_on_cpu_and_gpu(texts: Path, groups: dict[str, object]) -> None:
    """Planes are made where the model's copy is, and the tail is moved on the CPU, where the model is."""
    data, found = small_data(texts), []
    for device in ("cpu", "cuda"):
        config = small_config(texts, device=device, cohort=9, **groups)
        with Simulation(config, data) as simulation:
            records = [simulation.run_round() for _ in range(3)]
            assert all(report.bounded is not None for record in records for report in record.reports)
            found.append(([record.loss for record in records], simulation.evaluate()["nll"]))
    assert_close(found)


@needs_cuda
@pytest.mark.parametrize("updates", ["float16", "bfloat16", "int8"])
def test_the_same_compressed_rounds_on_cpu_and_gpu(texts: Path, updates: str) -> None:
    compression = {"rows": "float16", "updates": updates, "error_feedback": True}
    data, found = small_data(texts), []
    for device in ("cpu", "cuda"):
        config = small_config(texts, compression=compression, server={"clip": 0.1}, cohort=12, device=device)
        with Simulation(config, data) as simulation:
            losses = [simulation.run_round().loss for _ in range(3)]
            found.append((losses, simulation.evaluate()["nll"]))
            residuals = simulation.state.residuals
        assert residuals
        assert all(residual.rows.device.type == "cpu" for residual in residuals.values())
    assert_close(found)


def assert_close(found: list[tuple[list[float], float]]) -> None:
    """Losses and evaluation of both devices."""
    assert found[0][0] == pytest.approx(found[1][0], rel=1e-3)
    assert found[0][1] == pytest.approx(found[1][1], rel=1e-3)
