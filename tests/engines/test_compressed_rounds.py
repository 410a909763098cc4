"""Rounds with compressed messages, error feedback and clipped updates, end to end."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from hashfed.config import Config
from hashfed.engines.budget import build_model
from hashfed.engines.checkpoint import load_checkpoint, save_checkpoint
from hashfed.engines.client_round import ClientRound
from hashfed.engines.local.simulator import Simulation
from hashfed.engines.server_round import ServerRound
from hashfed.engines.single_thread import single_thread
from hashfed.engines.state import ServerState
from hashfed.errors import HashfedError
from hashfed.federated import wire
from hashfed.federated.clip import norm
from hashfed.federated.compression import compress_update
from hashfed.federated.error_feedback import ClientMemory
from hashfed.federated.messages import SelectedRows, Update, Welcome
from hashfed.federated.settings import ServerSettings, UpdatePrecision
from hashfed.federated.sums import accept_update
from hashfed.federated.tail import spread
from hashfed.randomness import stream
from hashfed.retrieval import build_index
from hashfed.runs.train import round_metrics
from small import small_config, small_data

KINDS: dict[str, dict[str, object]] = {
    "none": {},
    "float16": {"rows": "float16", "updates": "float16"},
    "bfloat16": {"rows": "bfloat16", "updates": "bfloat16"},
    "int8": {"rows": "bfloat16", "updates": "int8"},
    "int8 with feedback": {"rows": "float16", "updates": "int8", "error_feedback": True},
}
FEEDBACK = KINDS["int8 with feedback"]


def arrays(state: ServerState) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in state.tensors().items()}


def play(config: Config, data: Any, rounds: int) -> tuple[list[Any], dict[str, torch.Tensor]]:
    """Metrics lines and all arrays of the state."""
    with Simulation(config, data) as simulation:
        lines = [round_metrics(simulation.run_round()) for _ in range(rounds)]
        return lines, arrays(simulation.state)


def assert_same(one: dict[str, torch.Tensor], two: dict[str, torch.Tensor]) -> None:
    assert set(one) == set(two)
    assert all(torch.equal(value, two[name]) for name, value in one.items())


@pytest.mark.parametrize("kind", KINDS)
def test_every_compression_trains(texts: Path, kind: str) -> None:
    config = small_config(texts, compression=KINDS[kind], client={"learning_rate": 0.5})
    with Simulation(config, small_data(texts)) as simulation:
        before = simulation.evaluate()["nll"]
        lines = [round_metrics(simulation.run_round()) for _ in range(25)]
        after = simulation.evaluate()["nll"]
    assert after < before - 0.1
    plain = play(small_config(texts, client={"learning_rate": 0.5}), small_data(texts), 1)[0][0]["bytes"]
    for message in ("welcome", "rows", "update"):
        assert (lines[0]["bytes"][message] < plain[message]) == (kind != "none")


@pytest.mark.parametrize("method", ["full", "simhash-collisions"])
def test_error_feedback_with_two_workers_gives_the_same_bits(texts: Path, method: str) -> None:
    data, retrieval = small_data(texts), {"method": method}
    one = play(small_config(texts, compression=FEEDBACK, retrieval=retrieval, cohort=12), data, 4)
    two = play(small_config(texts, compression=FEEDBACK, retrieval=retrieval, cohort=12, workers=2), data, 4)
    assert one[0] == two[0]
    assert any(name.startswith("residual.") for name in one[1])
    assert_same(one[1], two[1])


def test_a_killed_run_with_error_feedback_resumes_bit_for_bit(texts: Path, tmp_path: Path) -> None:
    data, config = small_data(texts), small_config(texts, compression=FEEDBACK, cohort=12)
    lines, expected = play(config, data, 5)
    with Simulation(config, data) as simulation:
        for _ in range(2):
            simulation.run_round()
        save_checkpoint(tmp_path, simulation.state)
        simulation.run_round()  # is lost in the kill
    with Simulation(config, data) as simulation:
        assert load_checkpoint(tmp_path, simulation.state)
        assert [round_metrics(simulation.run_round()) for _ in range(3)] == lines[2:]
        assert_same(arrays(simulation.state), expected)


def test_the_simulator_keeps_the_last_residual_of_each_client(texts: Path) -> None:
    data, config = small_data(texts), small_config(texts, compression=FEEDBACK)
    last: dict[str, int] = {}
    with Simulation(config, data) as simulation:
        for _ in range(4):
            record = simulation.run_round()
            last |= {report.client: record.round for report in record.reports}
        residuals = simulation.state.residuals
    assert residuals is not None
    assert {name: residual.round for name, residual in residuals.items()} == last
    assert any(bool(residual.rows.any()) for residual in residuals.values())
    assert play(small_config(texts), data, 1)[1].keys() == {
        name for name in simulation.state.tensors() if not name.startswith("residual.")
    }


def test_error_feedback_changes_what_is_sent_from_the_second_time_on(texts: Path) -> None:
    data = small_data(texts)
    everyone = len(data.train)
    found = [
        play(small_config(texts, compression=FEEDBACK | {"error_feedback": on}, cohort=everyone), data, 2)
        for on in (False, True)
    ]
    assert found[0][0] != found[1][0] or not torch.equal(
        found[0][1]["parameters.tables.output"], found[1][1]["parameters.tables.output"]
    )
    first = [
        play(small_config(texts, compression=FEEDBACK | {"error_feedback": on}, cohort=everyone), data, 1)[1]
        for on in (False, True)
    ]
    assert torch.equal(first[0]["parameters.tables.output"], first[1]["parameters.tables.output"])


def test_steps_over_the_wire_give_what_the_simulator_sums(texts: Path) -> None:
    """What another engine does: every message as bytes, and each client keeps its own memory."""
    data = small_data(texts)
    config = small_config(texts, compression=FEEDBACK, cohort=1, server={"optimizer": "fedavg"})
    model = build_model(config)
    memories: dict[str, ClientMemory] = {}
    used: dict[str, int] = {}
    with single_thread(), Simulation(config, data) as simulation:
        for round in range(1, 13):
            parameters = simulation.state.parameters
            index = build_index(parameters.rows, config.retrieval, data.label_counts, 0)
            chosen = int(stream(config.seed, "cohort", round).choice(len(data.train), 1, replace=False)[0])
            there = ServerRound.of(config, parameters, index, round)
            here = ClientRound(config, model, data.train[chosen], round, parameters.sizes)
            name = here.client.name
            residual = memories.get(name, ClientMemory()).of(used.get(name, 0))
            welcome = wire.decode(wire.encode(there.welcome(here.declared)))
            assert isinstance(welcome, Welcome)
            message, tail = there.select(here.client.name, here.declared, here.hash(welcome))
            selected = wire.decode(wire.encode(message))
            assert isinstance(selected, SelectedRows)
            here.residual = residual
            sent, lost = here.train(welcome, selected), here.lost
            assert lost is not None
            memories[name], used[name] = ClientMemory(residual, lost), round
            received = wire.decode(wire.encode(sent))
            assert isinstance(received, Update)
            update, clipped = accept_update(config.server, received, tail)
            assert not clipped
            before = parameters.clone()
            simulation.run_round()
            assert simulation.state.residuals is not None
            kept = simulation.state.residuals[here.client.name]
            assert_same(kept.tensors(), lost.tensors())
            change = torch.zeros_like(before.rows)
            assert update.ids is not None
            change[torch.from_numpy(update.ids.astype(np.int64))] = update.rows
            assert tail is not None
            assert update.tail is not None
            spread(before.rows, [(tail, update.tail)], change)
            expected = before.rows + config.server.learning_rate * change
            torch.testing.assert_close(simulation.state.parameters.rows, expected)
    assert any(memory.before is not None for memory in memories.values())


def test_clipped_updates_are_counted_in_the_metrics(texts: Path) -> None:
    data = small_data(texts)
    plain = play(small_config(texts), data, 1)
    assert "clipped" not in plain[0][0]
    loose = play(small_config(texts, server={"clip": 1e6}), data, 1)
    assert loose[0][0] == plain[0][0] | {"clipped": 0}
    assert_same(loose[1], plain[1])
    tight = play(small_config(texts, server={"clip": 1e-3}), data, 1)
    assert tight[0][0] == plain[0][0] | {"clipped": 5}
    two = play(small_config(texts, server={"clip": 1e-3}, workers=2), data, 1)
    assert tight[0] == two[0]
    assert_same(tight[1], two[1])


def test_the_mean_update_is_not_longer_than_the_clip(texts: Path) -> None:
    server = {"clip": 0.01, "optimizer": "fedavg", "learning_rate": 1.0}
    data, config = small_data(texts), small_config(texts, server=server)
    with Simulation(config, data) as simulation:
        before = simulation.state.parameters.clone().named()
        simulation.run_round()
        after = simulation.state.parameters.named()
        moved = norm([after[name] - before[name] for name in before])
    assert 0 < moved <= 0.01 * (1 + 1e-4)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("precision", ["none", "bfloat16", "int8"])
def test_a_received_update_can_be_clipped(precision: UpdatePrecision) -> None:
    rows = torch.tensor([[127.0, 0.0], [0.0, 0.0]])
    update = Update(2, 1, 0.0, {"b": torch.tensor([0.0])}, None, rows)
    received = wire.decode(wire.encode(compress_update(update, precision)))
    assert isinstance(received, Update)
    found, clipped = accept_update(ServerSettings(clip=63.5), received)
    assert clipped
    assert found.rows.tolist() == [[63.5, 0], [0, 0]]


def test_a_diverged_update_is_refused_before_it_is_clipped() -> None:
    update = Update(2, 1, 0.0, {"b": torch.tensor([torch.inf])}, None, torch.ones(2, 2))
    with pytest.raises(HashfedError, match=r"returned a change of body\.b"):
        accept_update(ServerSettings(clip=1.0), update)


@pytest.mark.parametrize("precision", ["float16", "int8"])
def test_a_diverging_run_with_compression_is_refused(texts: Path, precision: str) -> None:
    config = small_config(texts, client={"learning_rate": 1e30}, compression={"updates": precision})
    with (
        Simulation(config, small_data(texts)) as simulation,
        pytest.raises(HashfedError, match=r"round 1: client c\d+: returned a change"),
    ):
        simulation.run_round()
