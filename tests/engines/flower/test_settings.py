"""Every setting is used by an engine, said to be without effect there, or refused: none is just ignored."""

import importlib.util
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from hashfed.cli.descriptions import descriptions
from hashfed.cli.main import main
from hashfed.config import Config, FlowerSettings, make_config
from hashfed.engines.choose import make_simulation
from hashfed.engines.flower.client_app import app
from hashfed.engines.flower.rounds import FlowerRounds
from hashfed.engines.mapped import MAPPED
from hashfed.engines.network.rounds import check_config, without_effect
from hashfed.errors import HashfedError
from hashfed.retrieval import METHODS
from hashfed.runs.train import Engine, train
from hashfed.settings import Settings
from hashfed.tasks.federated_data import FederatedData
from hashfed.tasks.next_word.vocabulary import Vocabulary
from loopback import LoopbackGrid, partitions
from small import fitting, small_config, small_data

NO_HNSWLIB = importlib.util.find_spec("hnswlib") is None
CHECKS = ("config.py", "settings.py")
"""Files that define settings: what they read of them only checks them."""


MAPPED_FILES = [
    "first.tables.output.float32",
    "indexed.float32",
    "second.tables.output.float32",
    "tables.output.float32",
]


GROUPS: dict[type[Settings], str] = {
    **{type(value): f"{name}." for name, value in Config() if isinstance(value, Settings)},
    **{kind: f"retrieval.{name}." for name, kind in METHODS.items()},
    Config: "",
}
"""With the beginning of their settings' names: each retrieval method has its own."""
NAMES = {"data.task", "model.name", *(f"retrieval.{name}.method" for name in METHODS)}
"""What only says which group it is."""


def leaves() -> Iterator[str]:
    """All settings by dotted name."""
    named = {prefix.partition(".")[0] for prefix in GROUPS.values()}
    for group, prefix in GROUPS.items():
        names = group.model_fields if prefix else [name for name in Config.model_fields if name not in named]
        yield from (prefix + name for name in names)


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> set[str]:
    """Names of the settings that code reads from now on."""
    found: set[str] = set()
    plain = Settings.__getattribute__

    def noted(self: Settings, name: str) -> Any:
        prefix = GROUPS.get(type(self))
        caller = Path(sys._getframe(1).f_code.co_filename)
        if prefix is not None and caller.name not in CHECKS and "hashfed" in caller.parts:
            if name in type(self).model_fields:
                found.add(prefix + name)
            elif name == "model_dump" and prefix:
                found.update(prefix + field for field in type(self).model_fields)
            elif name == "folder":
                found.add("output")
            elif name == "part":
                found.update({"data.clients", "data.held_out_clients"})
            elif name == "kept":
                found.update({"data.tokens_per_client", "data.sentences_per_client"})
            elif name == "columns":
                found.update({"data.client_column", "data.text_column"})
            elif name == "splits":
                found.add("data.long_texts")
        return plain(self, name)

    monkeypatch.setattr(Settings, "__getattribute__", noted)
    monkeypatch.setattr(
        sys.modules["hashfed.runs.train"], "measure_device_memory", lambda *_: {"memory_peak": 1}
    )
    return found


SMALL: dict[str, object] = {"subspaces": 2, "cells": 4, "neighbors": 5, "faiss_factory": "IVF2,Flat"}
"""Of every method that has them."""
VARIANTS: list[dict[str, object]] = [
    *[dict[str, object](retrieval=fitting(method, **SMALL)) for method in METHODS],
    {"selection": {"sampling": "top"}},
    {"selection": {"points": "sketch"}},
    {"model": {"tie_embeddings": False}},
    {"server": {"optimizer": "fedavgm", "decay_rounds": 5, "clip": 0.1}, "client": {"clip": 1.0}},
    {"compression": {"updates": "int8", "error_feedback": True}, "retrieval": {"method": "frequency"}},
    {"flower": {"evaluation": "clients"}, "memory_map": True, "retrieval": {"method": "frequency"}},
    {"retrieval": {"method": "simhash-union"}, "selection": {"delivery": "pre-generated"}},
    {"engine": "cohort"},
]


def simulate(config: Config, data: FederatedData[Vocabulary], stop: Callable[[], bool]) -> Engine:
    return make_simulation(config, data, stop)


def over_a_network(config: Config, data: FederatedData[Vocabulary], stop: Callable[[], bool]) -> Engine:
    return FlowerRounds(LoopbackGrid(app, partitions(config.data.source, 2)), config, data)


@pytest.mark.parametrize(
    ("make_engine", "without"),
    [
        (simulate, {f"flower.{name}" for name in FlowerSettings.model_fields}),
        (over_a_network, {"workers", "engine", "device_memory", "precision"}),
    ],
)
def test_an_engine_reads_all_settings_but_those_that_say_so(
    texts: Path,
    tmp_path: Path,
    read: set[str],
    make_engine: Callable[..., Engine],
    without: set[str],
) -> None:
    data, missing = small_data(texts), set()
    for number, groups in enumerate(VARIANTS):
        retrieval = groups.get("retrieval")
        if isinstance(retrieval, dict) and retrieval["method"] == "hnswlib" and NO_HNSWLIB:
            missing = {name for name in leaves() if name.startswith("retrieval.hnswlib.")}
            continue
        config = small_config(texts, cohort=3, rounds=1, output=str(tmp_path / str(number)), **groups)
        with make_engine(config, data, lambda: False) as engine:
            engine.run_round()
    train(config.model_copy(update={"output": str(tmp_path / "run")}), make_engine=make_engine)
    assert set(leaves()) - NAMES - read - missing == without


def test_settings_without_effect_say_so() -> None:
    """In their descriptions, which the README's table and the help are made of, and when they are made."""
    assert "the simulator has no use for them" in (FlowerSettings.__doc__ or "")
    for name in ("workers", "engine"):
        description = " ".join(descriptions(Config)[name].split())
        assert "Over a network, where nodes train, it has no effect." in description
    assert without_effect(Config()) == []
    (line,) = without_effect(make_config({"workers": 3}))
    assert line == "workers = 3: without effect over a network, where nodes train, not workers"
    (line,) = without_effect(make_config({"engine": "cohort"}))
    assert line == "engine = cohort: without effect over a network, where nodes train"


def test_a_gpu_is_refused(texts: Path) -> None:
    """By the server, and by hashfed serve before anything is started."""
    text = "device = cuda: must be cpu over a network, where nodes train"
    config = small_config(texts, device="cuda")
    for refuse in (
        lambda: check_config(config),
        lambda: FlowerRounds(LoopbackGrid(app, partitions(texts)), config, small_data(texts)),
    ):
        with pytest.raises(HashfedError) as caught:
            refuse()
        assert str(caught.value) == text


def test_serve_refuses_before_anything_starts(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["serve", "--device", "cuda", "--show-commands"]) == 2
    found = capsys.readouterr()
    assert found.out == ""
    assert found.err == "hashfed: device = cuda: must be cpu over a network, where nodes train\n"


def test_mapped_tables_are_the_same_numbers(texts: Path, tmp_path: Path) -> None:
    """In files of the run's folder while it lasts; a checkpoint is restored into them."""
    data, found = small_data(texts), []
    for mapped in (False, True):
        config = small_config(
            texts,
            output=str(tmp_path / str(mapped)),
            memory_map=mapped,
            retrieval={"refresh": 2},
            flower={"clients": len(data.train)},
        )
        memory = tmp_path / str(mapped) / MAPPED
        with FlowerRounds(LoopbackGrid(app, partitions(texts)), config, data) as engine:
            losses = [engine.run_round().loss for _ in range(2)]
            saved = {name: value.clone() for name, value in engine.state.tensors().items()}
            numbers = dict(engine.state.numbers())
        with FlowerRounds(LoopbackGrid(app, partitions(texts)), config, data) as engine:
            engine.state.restore(saved, numbers)
            names = sorted(path.name for path in memory.iterdir()) if memory.exists() else []
            assert names == (MAPPED_FILES if mapped else [])
            losses.append(engine.run_round().loss)
            losses.append(engine.evaluate()["nll"])
            found.append((losses, engine.state.parameters.clone()))
            if mapped:
                written = np.fromfile(memory / "tables.output.float32", np.float32)
                assert np.array_equal(written, found[1][1].rows.numpy().ravel())
        assert not memory.exists() or not list(memory.iterdir())
    assert found[0][0] == found[1][0]
    assert all(torch.equal(v, found[1][1].named()[k]) for k, v in found[0][1].named().items())
