"""Models with tables besides the output layer's: only the rows that data touch travel and move (law 13)."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from hashfed.config import Config, make_config
from hashfed.engines.budget import build_model
from hashfed.engines.checkpoint import load_checkpoint, save_checkpoint
from hashfed.engines.device_memory import _train_toy
from hashfed.engines.local.simulator import Simulation
from hashfed.engines.single_thread import single_thread
from hashfed.errors import HashfedError
from hashfed.federated.checks import Limits, ModelShape, RowsSent, check_declare, check_update
from hashfed.federated.client import LocalModel, own_rows, train
from hashfed.federated.messages import Declare, Update
from hashfed.federated.settings import ClientSettings
from hashfed.models import INPUT, OUTPUT
from hashfed.models.losses import LOSSES
from hashfed.randomness import stream
from hashfed.runs.train import round_metrics
from hashfed.tasks.federated_data import Client
from hashfed.tasks.next_word.sentences import encode_sentences
from laws import same_over_a_network
from small import prepare, small_config, small_data

UNTIED = {
    "embedding": 8,
    "attention": 8,
    "heads": 2,
    "ffn": 16,
    "blocks": 2,
    "tie_embeddings": False,
}
TABLES = {f"{name}.{table}" for name in ("parameters.tables", "touched", "held") for table in (INPUT, OUTPUT)}


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    with single_thread():
        yield


def untied(texts: Path, **groups: Any) -> Config:
    return small_config(texts, model=UNTIED, **groups)


def play(config: Config, data: Any, rounds: int = 3) -> tuple[list[Any], dict[str, torch.Tensor]]:
    with Simulation(config, data) as simulation:
        lines = [round_metrics(simulation.run_round()) for _ in range(rounds)]
        lines.append(simulation.evaluate())
        return lines, {name: value.clone() for name, value in simulation.state.tensors().items()}


def assert_same(one: dict[str, torch.Tensor], two: dict[str, torch.Tensor]) -> None:
    assert set(one) == set(two)
    for name, value in one.items():
        assert torch.equal(value, two[name]), name


@given(
    client=st.integers(0, 15),
    batch_size=st.integers(1, 4),
    epochs=st.integers(1, 2),
    clip=st.sampled_from([None, 0.05]),
    seed=st.integers(0, 9),
)
def test_training_on_the_touched_rows_is_training_on_the_whole_table(
    texts: Path, client: int, batch_size: int, epochs: int, clip: float | None, seed: int
) -> None:
    data, config = small_data(texts), untied(texts)
    model, examples = build_model(config), data.train[client].examples
    parameters = model.init(data.sizes, stream(seed, "init"))
    settings = ClientSettings(batch_size=batch_size, epochs=epochs, clip=clip)

    def changed(ids: np.ndarray) -> torch.Tensor:
        rows = parameters.tables[INPUT][torch.from_numpy(ids)]
        local = LocalModel(None, parameters.rows, None, parameters.body, None, {INPUT: ids}, {INPUT: rows})
        update, _ = train(
            model, local, examples, settings, LOSSES["softmax"].gradients, 1, stream(seed, "train")
        )
        assert update.inputs[INPUT].tolist() == ids.tolist()
        found = torch.zeros_like(parameters.tables[INPUT])
        found[torch.from_numpy(ids)] = update.input_rows[INPUT]
        return found

    touched = own_rows(model, examples, INPUT)
    assert 0 < len(touched) < data.size
    whole = changed(np.arange(data.size))
    if clip is None:
        assert torch.equal(changed(touched), whole)
    else:  # a norm summed over more zeros
        torch.testing.assert_close(changed(touched), whole)
    moved = whole.abs().sum(1) > 0
    assert np.flatnonzero(moved.numpy()).tolist() == touched.tolist()


def test_only_touched_rows_move_and_their_moments_wait(texts: Path) -> None:
    data, config = small_data(texts), untied(texts)
    with Simulation(config, data) as simulation:
        before = simulation.state.parameters.tables[INPUT].clone()
        record = simulation.run_round()
        names = {report.client for report in record.reports}
        touched = set[int]()
        for client in data.train:
            if client.name in names:
                touched |= set(client.examples.own(INPUT).tolist())
        after = simulation.state.parameters.tables[INPUT]
        moved = np.flatnonzero((after != before).any(1).numpy()).tolist()
        assert set(moved) <= touched
        assert len(moved) > 5
        first = simulation.state.optimizer.first[f"tables.{INPUT}"]
        assert np.flatnonzero(first.any(1).numpy()).tolist() == moved
        # The output layer's moments are dense, so that every row moves.
        simulation.run_round()
        assert simulation.state.optimizer.touched[INPUT].max() == 2
    dense = untied(texts, server={"input_moments": "dense"})
    with Simulation(dense, data) as simulation:
        simulation.run_round()
        middle = simulation.state.parameters.tables[INPUT].clone()
        simulation.run_round()
        still = set(range(data.size)) - set(np.flatnonzero(simulation.state.optimizer.touched[INPUT] == 2))
        moved_on = (simulation.state.parameters.tables[INPUT] != middle).any(1).numpy()
        assert moved_on[sorted(still & set(moved))].all()


def test_input_moments_need_a_table(texts: Path) -> None:
    with pytest.raises(HashfedError, match=r"server\.input_moments = dense: has no effect"):
        make_config({"server": {"input_moments": "dense"}})


@pytest.mark.parametrize("method", ["full", "query-centroids", "simhash-union", "random"])
def test_bytes_and_rows_of_an_untied_model(texts: Path, method: str) -> None:
    """The own rows of the output table are the targets alone; those that are read travel besides."""
    data = small_data(texts)
    lines, found = play(untied(texts, retrieval={"method": method}, selection={"correction": "auto"}), data)
    assert set(found) >= TABLES
    assert all(line["bytes"]["declare"] > 0 for line in lines[:3])
    tied, _ = play(small_config(texts, retrieval={"method": method}), data)
    assert all(one["own_rows"] <= other["own_rows"] for one, other in zip(lines[:3], tied[:3], strict=True))
    assert "declare" in tied[0]["bytes"] or method == "full"


def test_every_delivery_gives_the_same_numbers(texts: Path) -> None:
    data, found = small_data(texts), []
    for delivery in ("on-demand", "broadcast", "pre-generated"):
        selection = {"delivery": delivery, "correction": "tail"}
        config = untied(texts, retrieval={"method": "simhash-union"}, selection=selection)
        lines, state = play(config, data)
        found.append(([line["train_loss"] for line in lines[:3]], state))
        kinds = {"on-demand": "declare", "broadcast": "broadcast", "pre-generated": "manifest"}
        assert kinds[delivery] in lines[0]["bytes"]
    for losses, state in found[1:]:
        assert losses == found[0][0]
        assert_same(state, found[0][1])


@pytest.mark.parametrize(
    "groups",
    [
        {"workers": 2},
        {"memory_map": True},
        {"memory_map": True, "workers": 2},
        {"workers": 2, "compression": {"updates": "int8", "rows": "float16", "error_feedback": True}},
    ],
)
def test_workers_and_files_change_no_number(texts: Path, tmp_path: Path, groups: dict[str, Any]) -> None:
    data = small_data(texts)
    alone = {name: value for name, value in groups.items() if name == "compression"}
    lines, state = play(untied(texts, output=str(tmp_path / "one"), **alone), data)
    others, other = play(untied(texts, output=str(tmp_path / "two"), **groups), data)
    assert lines == others
    assert_same(state, other)


def test_a_run_goes_on_from_its_checkpoint(texts: Path, tmp_path: Path) -> None:
    data = small_data(texts)
    config = untied(texts, compression={"updates": "int8", "error_feedback": True})
    expected = play(config, data, 4)
    with Simulation(config, data) as simulation:
        for _ in range(2):
            simulation.run_round()
        save_checkpoint(tmp_path, simulation.state)
    with Simulation(config, data) as simulation:
        assert load_checkpoint(tmp_path, simulation.state)
        lines = [round_metrics(simulation.run_round()) for _ in range(2)]
        assert lines == expected[0][2:4]
        assert_same(simulation.state.tensors(), expected[1])


@pytest.mark.parametrize("method", ["query-centroids", "full"])
def test_over_a_network_it_is_the_simulator_s_run(texts: Path, method: str) -> None:
    base, data = prepare(texts, evaluation="clients")
    config = make_config(base.model_dump(mode="json") | {"model": UNTIED, "retrieval": {"method": method}})
    same_over_a_network(config, data)


def test_words_that_nobody_knows(texts: Path) -> None:
    """What is read where nothing is to be found, as the end of a sentence, is in no row at hand."""
    data, config = small_data(texts), untied(texts)
    strange = Client("strange", encode_sentences([["?"], ["?", "?"]], data.names, 6))
    lines, _ = play(config, replace(data, train=(*data.train[:4], strange)), 2)
    assert all(np.isfinite(line["train_loss"]) for line in lines[:2])


def test_an_update_of_more_rows_than_a_client_can_touch_is_refused() -> None:
    """Where it selects by itself, nobody knows which."""
    many = {"inputs": {INPUT: ids(0, 1, 2, 3)}, "input_rows": {INPUT: torch.zeros(4, 2)}}
    update = Update(1, 3, 1.0, {"b": torch.zeros(1)}, None, torch.zeros(9, 2), **many)  # type: ignore[arg-type]
    with pytest.raises(HashfedError, match=r"inputs\.input: 4 rows: at most 3 can be needed"):
        check_update(update, 1, SHAPE, LIMITS, RowsSent(None, 9, 9, False), "none")


def test_a_process_warms_up_with_an_untied_model(texts: Path) -> None:
    _train_toy(untied(texts))


SHAPE = ModelShape({OUTPUT: (9, 2), INPUT: (5, 2)}, {"b": (1,)})
LIMITS = Limits(own=9, predictions=9, inputs={INPUT: 3})


def declare(**change: Any) -> Declare:
    said = Declare(1, np.array([3], np.int32), 4, {INPUT: np.array([0, 4], np.int32)})
    return replace(said, **change)


def ids(*numbers: int) -> np.ndarray:
    return np.array(numbers, np.int32)


@pytest.mark.parametrize(
    ("inputs", "problem"),
    [
        ({}, "table input is in only one of them and the model"),
        ({INPUT: ids(0), "other": ids(0)}, "table other is in only one of them and the model"),
        ({INPUT: ids(4, 0)}, "declared rows of table input: "),
        ({INPUT: ids(0, 0)}, "declared rows of table input: "),
        ({INPUT: ids(5)}, "declared rows of table input: "),
        ({INPUT: ids(-1)}, "declared rows of table input: "),
        ({INPUT: ids(0, 1, 2, 3)}, "inputs.input: 4 rows: at most 3 can be needed"),
        ({INPUT: np.zeros(1)}, "inputs.input of type float64: must be int32"),
    ],
)
def test_declared_rows_of_input_tables_are_checked(inputs: dict[str, np.ndarray], problem: str) -> None:
    check_declare(declare(), 1, SHAPE, LIMITS)
    with pytest.raises(HashfedError, match=problem):
        check_declare(declare(inputs=inputs), 1, SHAPE, LIMITS)


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"inputs": {}}, "inputs.input: is in only one of the message and the model"),
        ({"input_rows": {}}, "input_rows.input: is in only one of the message and the model"),
        ({"inputs": {INPUT: ids(0, 3)}}, "inputs.input: must be the 2 rows that were declared"),
        ({"inputs": {INPUT: ids(0, 9)}}, "inputs.input: "),
        ({"input_rows": {INPUT: torch.zeros(3, 2)}}, r"input_rows.input of shape \(3, 2\): must be \(2, 2\)"),
        ({"input_rows": {INPUT: torch.zeros(2, 2).half()}}, "input_rows.input of type float16"),
    ],
)
def test_changes_of_input_tables_are_checked(change: dict[str, Any], problem: str) -> None:
    update = Update(
        1, 3, 1.0, {"b": torch.zeros(1)}, ids(3), torch.zeros(1, 2), {}, None, {INPUT: ids(0, 4)},
        {INPUT: torch.zeros(2, 2)},
    )  # fmt: skip
    sent = RowsSent(ids(3), 1, 1, True, inputs={INPUT: ids(0, 4)})
    check_update(update, 1, SHAPE, LIMITS, sent, "none")
    with pytest.raises(HashfedError, match=problem):
        check_update(replace(update, **change), 1, SHAPE, LIMITS, sent, "none")
