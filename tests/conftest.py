import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import torch
from hypothesis import HealthCheck, settings

import hashfed
from hashfed import train
from small import small_config, write_texts

if TYPE_CHECKING:
    from clock import Clock

# No deadline, and no complaint that examples are made slowly: time says nothing on a busy machine. The same
# examples every time.
settings.register_profile(
    "hashfed",
    deadline=None,
    max_examples=50,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("hashfed")

# Tensors here are tiny: threads that wait for each other cost more than they save, most on a busy machine.
torch.set_num_threads(1)

MEASURED = {"memory_baseline": 1, "memory_peak": 2}


def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    """A process for each core, where the whole suite or a folder is run; none besides for single files."""
    alone = not any(Path(argument).is_dir() for argument in config.args)
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return 0 if alone or cores == 1 else cores


# What was started in the background or with nohup ignores these, and so would the processes under test.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
for number in (signal.SIGTERM, signal.SIGHUP):
    if signal.getsignal(number) is signal.SIG_IGN:
        signal.signal(number, signal.SIG_DFL)


@pytest.fixture(scope="session")
def texts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A JSON Lines file of 24 clients."""
    return write_texts(tmp_path_factory.mktemp("data") / "small.jsonl")


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> "Clock":
    """Of the server of a network run and of the loopback: it goes on only where they rest."""
    from clock import Clock

    found = Clock()
    found.stand_in(monkeypatch)
    return found


@pytest.fixture(scope="session", autouse=True)
def no_probe() -> Iterator[None]:
    """Leave out the fresh processes that measure a client's memory at the end of each training: 4 s.

    ``probed`` brings them back.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys.modules["hashfed.runs.train"], "measure_device_memory", lambda *_: MEASURED)
        yield


@pytest.fixture
def probed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Measure the memory of clients, each in one fresh process rather than three."""
    monkeypatch.setattr("hashfed.engines.device_memory.PROBES", 1)
    measure = hashfed.engines.device_memory.measure_device_memory
    monkeypatch.setattr(sys.modules["hashfed.runs.train"], "measure_device_memory", measure)


@pytest.fixture(scope="session")
def trained(texts: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a tiny trained run, not to be changed."""
    path = tmp_path_factory.mktemp("runs") / "tiny"
    train(small_config(texts, output=str(path)))
    return path
