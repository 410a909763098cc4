"""A run whose server computes nonsense ends with one line, and what it saved before stays good."""

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from hashfed import HashfedError, RunFolder, Simulation, train
from hashfed.config import Config
from hashfed.engines.checkpoint import load_parameters, save_checkpoint
from hashfed.engines.state import ServerState
from hashfed.federated.divergence import DivergedError
from hashfed.runs.train import MakeEngine
from hashfed.tasks.federated_data import FederatedData
from hashfed.tasks.next_word.vocabulary import Vocabulary
from small import small_config, small_data

Spoil = Callable[[ServerState], None]


def rows_nan(state: ServerState) -> None:
    state.parameters.rows[3, 1] = math.nan


def body_infinite(state: ServerState) -> None:
    next(iter(state.parameters.body.values())).view(-1)[-1] = -math.inf


def rows_huge(state: ServerState) -> None:
    state.parameters.rows.mul_(1e30)


def first_moment_nan(state: ServerState) -> None:
    state.optimizer.first["tables.output"][0, 0] = math.nan


def second_moment_nan(state: ServerState) -> None:
    state.optimizer.second["body.norm.weight"][0] = math.nan


SPOILED = [rows_nan, body_infinite, rows_huge, first_moment_nan, second_moment_nan]


def simulation(config: Config, data: FederatedData[Vocabulary], stop: Callable[[], bool]) -> Simulation:
    return Simulation(config, data, stop)


def network(texts: Path) -> MakeEngine:
    pytest.importorskip("flwr")
    from hashfed.engines.flower.client_app import app
    from hashfed.engines.flower.rounds import FlowerRounds
    from loopback import LoopbackGrid, partitions

    return lambda config, data, stop: FlowerRounds(LoopbackGrid(app, partitions(texts)), config, data)


def engine_of(name: str, texts: Path) -> MakeEngine:
    return network(texts) if name == "network" else simulation


@pytest.mark.parametrize("engine", ["simulation", "network"])
@pytest.mark.parametrize("spoil", SPOILED)
def test_the_last_good_checkpoint_stays(texts: Path, tmp_path: Path, engine: str, spoil: Spoil) -> None:
    """The server's third step goes wrong; without that the same command ends as if nothing had been."""
    flower = {"clients": len(small_data(texts).train)}
    config = small_config(texts, checkpoint_every=2, flower=flower)
    config = config.model_copy(update={"output": str(tmp_path / "run")})
    whole = config.model_copy(update={"output": str(tmp_path / "whole")})
    play = engine_of(engine, texts)
    train(whole, None, play)
    honest = ServerState.finish_round

    def finish(state: ServerState, *arguments: Any) -> None:
        if state.round == 2:
            spoil(state)
        honest(state, *arguments)

    with pytest.MonkeyPatch.context() as spoiled:
        spoiled.setattr(ServerState, "finish_round", finish)
        for _ in range(2):
            with pytest.raises(DivergedError) as caught:
                train(config, None, play)
            line = str(caught.value)
            assert line.startswith("round 3: a parameter of ")
            assert "lower server.learning_rate (0.01) or client.learning_rate (0.3)" in line
            assert line.endswith("; round 2 is kept, and other settings need another output")
            assert "\n" not in line
            kept = load_parameters(tmp_path / "run" / "checkpoint")
            assert kept is not None
            assert all(bool(torch.isfinite(value).all()) for value in kept.named().values())
            assert [entry["round"] for entry in RunFolder(tmp_path / "run").lines("metrics.jsonl")] == [1, 2]
    train(config, None, play)
    # Over a network, what travels to join again is counted again.
    for name in ("checkpoint/latest.json", *(["metrics.jsonl"] if engine == "simulation" else [])):
        assert (tmp_path / "run" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()


@pytest.mark.parametrize("engine", ["simulation", "network"])
@pytest.mark.parametrize(
    "settings",
    [
        {"server": {"learning_rate": 1e30}},
        {"server": {"learning_rate": 1e30, "optimizer": "fedavg"}},
        {"server": {"learning_rate": 1e38, "optimizer": "fedavgm"}},
        {"server": {"learning_rate": 1e30, "row_moments": "lazy"}, "retrieval": {"method": "random"}},
        {"server": {"epsilon": 1e-60, "optimizer": "fedadagrad", "learning_rate": 1e8}},
        {"client": {"learning_rate": 1e30}},
        {"client": {"learning_rate": 1e3, "epochs": 4}},
    ],
    ids=str,
)
def test_settings_that_ruin_the_first_round(
    texts: Path, tmp_path: Path, engine: str, settings: dict[str, Any]
) -> None:
    """However they do it: one line, no checkpoint of it, and nothing in the files that is no number."""
    flower = {"clients": len(small_data(texts).train), "minimum_share": 1.0}
    config = small_config(texts, rounds=1, flower=flower, **settings)
    with pytest.raises(HashfedError, match="diverged") as caught:
        train(config.model_copy(update={"output": str(tmp_path)}), None, engine_of(engine, texts))
    assert "round 1" in str(caught.value)
    assert "learning_rate" in str(caught.value)
    assert not (tmp_path / "checkpoint").exists()
    assert not (tmp_path / "summary.json").exists()
    assert RunFolder(tmp_path).lines("metrics.jsonl") == []


@pytest.mark.parametrize("engine", ["simulation", "network"])
@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_an_evaluation_that_is_no_number_ends_the_run(
    texts: Path, tmp_path: Path, engine: str, value: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = small_config(texts, checkpoint_every=1, flower={"clients": len(small_data(texts).train)})
    config = config.model_copy(update={"output": str(tmp_path)})
    for module in ("local.workers", "evaluation"):
        monkeypatch.setattr(f"hashfed.engines.{module}.evaluate_chunk", lambda *_: {"words": 1, "nll": value})
    with pytest.raises(
        DivergedError, match=rf"^round 2: nll on the held-out clients is {value:g}: the training"
    ):
        train(config, None, engine_of(engine, texts))
    assert json.loads((tmp_path / "checkpoint" / "latest.json").read_text())["round"] == 1


def test_a_checkpoint_of_a_diverged_run_is_not_gone_on_from(texts: Path, tmp_path: Path) -> None:
    """Earlier versions wrote such."""
    with Simulation(small_config(texts), small_data(texts)) as engine:
        engine.state.parameters.rows[0, 0] = math.nan
        save_checkpoint(tmp_path, engine.state)
    with pytest.raises(
        HashfedError, match=r"a parameter of parameters\.tables\.output is not finite.*delete the folder"
    ):
        load_parameters(tmp_path)
