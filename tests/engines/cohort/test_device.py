"""Whatever is played on a GPU is there: no tensor of the CPU meets one of its."""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from hashfed import train
from hashfed.config import Config
from hashfed.engines.cohort.simulation import CohortSimulation
from hashfed.engines.single_thread import single_thread
from hashfed.models import Parameters
from hashfed.tasks.registry import make_task
from interactions import item_config, write_interactions
from pretended_device import WrongDeviceError, pretended_device
from small import INSTALLED, fitting, small_config
from small_labels import labels_config, write_data

CUDA = {"device": "cuda"}


@pytest.fixture(autouse=True)
def alone() -> Iterator[None]:
    with single_thread():
        yield


def check(config: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two rounds and an evaluation; the model stays where it is."""
    data = make_task(config.data).load("test")
    with pretended_device(monkeypatch), CohortSimulation(config, data) as simulation:
        for _ in range(2):
            simulation.run_round()
        simulation.evaluate()
        named = simulation.state.parameters.named()
        assert {value.device.type for value in named.values()} == {"cuda"}


@pytest.mark.parametrize("method", INSTALLED)
def test_every_method(method: str, texts: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    check(small_config(texts, retrieval=fitting(method, subspaces=4), **CUDA), monkeypatch)


CASES: dict[str, dict[str, Any]] = {
    "merged": {"selection": {"planes": 2}},
    "temperature": {"retrieval": {"inverse_temperature": 0.5}},
    "sketch": {"retrieval": {"method": "simhash-collisions"}, "selection": {"points": "sketch"}},
    "sketch beside keys": {"selection": {"points": "sketch"}},
    "no planes": {"selection": {"planes": 0}},
    "paper": {"selection": {"correction": "none", "sampling": "top"}},
    "oversampled": {"selection": {"sampling": "top", "oversample": 1.5, "budget": 0.5}},
    "own alone": {"selection": {"extra": 0}, "client": {"clip": 0.5}},
    "broadcast": {"selection": {"delivery": "broadcast"}},
    "untied clip": {"model": {"tie_embeddings": False}, "client": {"clip": 0.5}},
    "server clip": {"server": {"clip": 0.5}},
    "declared": {"retrieval": {"counts": "declared", "refresh": 2}},
    "bfloat16": {"retrieval": {"precision": "bfloat16"}},
    "int8": {"compression": {"rows": "float16", "updates": "int8", "error_feedback": True}},
    "lazy": {"server": {"row_moments": "lazy", "optimizer": "fedadam"}},
    "one step": {"retrieval": {"method": "full"}, "client": {"batch_size": 100}},
}


@pytest.mark.parametrize("case", CASES)
def test_every_estimator(case: str, texts: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    check(small_config(texts, **CASES[case], **CUDA), monkeypatch)


def test_a_run_is_saved_resumed_and_summed_up(
    texts: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    measured = []

    def measure(config: Config, model: Any, data: Any, parameters: Parameters) -> dict[str, int]:
        measured.append({value.device.type for value in parameters.named().values()})
        return {"memory_baseline": 0, "memory_peak": 1}

    monkeypatch.setattr(sys.modules[train.__module__], "measure_device_memory", measure)
    with pretended_device(monkeypatch):
        for rounds in (1, 2):
            train(small_config(texts, output=str(tmp_path / "run"), rounds=rounds, **CUDA))
    assert measured == [{"cpu"}] * 2


@pytest.mark.parametrize("loss", ["softmax", "binary"])
@pytest.mark.parametrize("batch_size", [2, 100])
def test_labels(loss: str, batch_size: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    groups = {"data": {"loss": loss}, "client": {"batch_size": batch_size}}
    check(labels_config(write_data(tmp_path), **groups, **CUDA), monkeypatch)


def test_items(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    check(item_config(write_interactions(tmp_path / "items.txt"), **CUDA), monkeypatch)


def test_the_pretended_device_refuses_what_a_real_one_does(monkeypatch: pytest.MonkeyPatch) -> None:
    with pretended_device(monkeypatch):
        here, far = torch.ones(2), torch.ones(2, device="cuda")
        assert (far * 2 + far.sum().cpu()).device.type == "cuda"
        assert far[torch.tensor([0])].is_cuda
        far[:1] = here[:1]
        assert far.cpu().numpy().tolist() == [1, 1]
        for refused in (
            lambda: here + far,
            lambda: torch.cat([here, far]),
            lambda: here[far.long()],
            lambda: torch.index_select(far, 0, torch.tensor([0])),
            far.numpy,
        ):
            with pytest.raises(WrongDeviceError):
                refused()
