"""Rounds with planes of the tail: what they must equal, and what interrupts them."""

from pathlib import Path
from typing import Any

import pytest
import torch

from hashfed.cli.main import main
from hashfed.config import Config, make_config
from hashfed.engines.checkpoint import load_checkpoint, save_checkpoint
from hashfed.engines.local.simulator import Simulation
from hashfed.errors import HashfedError
from hashfed.retrieval import METHODS
from hashfed.runs.train import round_metrics
from small import fitting, small_config, small_data

ROUNDS = 4
FEW: dict[str, object] = {"extra": 4, "planes": 5}
"""Rows beyond the own ones, so that there is a tail."""


def play(config: Config, data: Any, rounds: int = ROUNDS) -> tuple[list[Any], dict[str, torch.Tensor]]:
    """Metrics lines and all arrays of the state."""
    with Simulation(config, data) as simulation:
        lines = [round_metrics(simulation.run_round()) for _ in range(rounds)]
        return lines, {name: value.clone() for name, value in simulation.state.tensors().items()}


def assert_same_state(one: dict[str, torch.Tensor], two: dict[str, torch.Tensor]) -> None:
    assert set(one) == set(two)
    for name, value in one.items():
        assert torch.equal(value, two[name]), name


def test_no_planes_are_the_sample_bit_for_bit(texts: Path) -> None:
    data = small_data(texts)
    sample = play(small_config(texts, selection={"correction": "tail"}), data)
    none = play(small_config(texts, selection={"correction": "control-variate", "planes": 0}), data)
    assert sample[0] == none[0]
    assert "bounded" not in none[0][0]
    assert_same_state(sample[1], none[1])
    some = play(small_config(texts, selection={"correction": "control-variate"}), data)
    assert "bounded" in some[0][0]
    assert not torch.equal(some[1]["parameters.tables.output"], sample[1]["parameters.tables.output"])


@pytest.mark.parametrize("selection", [{"budget": 0.999}, {"extra": 1000}, {"extra": 0.99}])
def test_all_rows_are_the_full_layer_bit_for_bit(texts: Path, selection: dict[str, object]) -> None:
    data = small_data(texts)
    full = play(small_config(texts, retrieval={"method": "full"}), data)
    whole = play(small_config(texts, selection=selection | {"correction": "control-variate"}), data)
    assert [line["train_loss"] for line in whole[0]] == [line["train_loss"] for line in full[0]]
    assert_same_state(full[1], whole[1])
    assert all(line["bytes"]["declare"] > 0 for line in whole[0])


def test_auto_is_the_control_variate_where_it_can_be(texts: Path) -> None:
    data = small_data(texts)
    for retrieval, selection, planes in (
        ({"method": "query-centroids"}, {}, True),
        ({"method": "query-centroids"}, {"delivery": "broadcast"}, False),
        ({"method": "frequency"}, {}, False),
        ({"method": "frequency"}, {"delivery": "pre-generated"}, False),
        ({"method": "frequency"}, {"points": "sketch"}, True),
        ({"method": "frequency"}, {"points": "sketch", "delivery": "broadcast"}, False),
    ):
        chosen = play(small_config(texts, retrieval=retrieval, selection=selection), data, 1)
        named = "control-variate" if planes else "tail"
        same = play(
            small_config(texts, retrieval=retrieval, selection=selection | {"correction": named}), data, 1
        )
        assert ("bounded" in chosen[0][0]) == planes
        assert chosen[0] == same[0]
        assert_same_state(chosen[1], same[1])


FEEDBACK: dict[str, Any] = {"rows": "bfloat16", "updates": "int8", "error_feedback": True}
KINDS: dict[str, dict[str, Any]] = {
    **{
        method: {"retrieval": fitting(method, subspaces=2, neighbors=5, faiss_factory="Flat")}
        for method, settings in METHODS.items()
        if settings.tells_queries
    },
    "sketch": {"retrieval": {"method": "simhash-collisions"}, "selection": {"points": "sketch"}},
    "refresh": {"retrieval": {"refresh": 3}, "compression": {"rows": "float16", "updates": "float16"}},
    "feedback": {
        "compression": FEEDBACK,
        "server": {"clip": 0.05},
        "client": {"epochs": 2, "clip": 0.5},
    },
}


@pytest.mark.parametrize("kind", KINDS)
def test_a_killed_run_with_planes_resumes_bit_for_bit(texts: Path, tmp_path: Path, kind: str) -> None:
    if kind in ("faiss", "hnswlib"):
        pytest.importorskip(kind)
    groups = KINDS[kind] | {"selection": FEW | KINDS[kind].get("selection", {}), "cohort": 9}
    data, config = small_data(texts), small_config(texts, **groups)
    lines, expected = play(config, data)
    assert all("bounded" in line for line in lines)
    with Simulation(config, data) as simulation:
        for _ in range(2):
            simulation.run_round()
        save_checkpoint(tmp_path, simulation.state)
        simulation.run_round()  # is lost in the kill
    with Simulation(config, data) as simulation:
        assert load_checkpoint(tmp_path, simulation.state)
        assert [round_metrics(simulation.run_round()) for _ in range(2)] == lines[2:]
        found = {name: value.clone() for name, value in simulation.state.tensors().items()}
    assert_same_state(found, expected)


def test_workers_and_mapped_tables_change_no_number(texts: Path, tmp_path: Path) -> None:
    groups = KINDS["feedback"] | {"selection": FEW, "cohort": 9, "retrieval": {"refresh": 2}}
    data, found = small_data(texts), []
    for workers, mapped in ((1, False), (2, True)):
        output = str(tmp_path / str(workers))
        config = small_config(texts, workers=workers, memory_map=mapped, output=output, **groups)
        found.append(play(config, data, 3))
    assert found[0][0] == found[1][0]
    assert_same_state(found[0][1], found[1][1])


def test_the_order_of_the_clients_in_the_file_changes_nothing(texts: Path, tmp_path: Path) -> None:
    shuffled = tmp_path / "shuffled.jsonl"
    shuffled.write_text("\n".join(reversed(texts.read_text().splitlines())))
    one = play(small_config(texts, selection=FEW), small_data(texts))
    other = play(small_config(shuffled, selection=FEW), small_data(shuffled))
    assert one[0] == other[0]
    assert_same_state(one[1], other[1])


@pytest.mark.parametrize("average", ["cohort", "holders", "fedsubavg"])
def test_every_row_moves_where_there_are_planes(texts: Path, average: str) -> None:
    """Also those that no client held, whatever the average: whoever moves the tail holds all."""
    data = small_data(texts)
    selection: dict[str, object] = {"extra": 0, "planes": 3}
    groups: dict[str, object] = {"server": {"row_average": average, "optimizer": "fedavg"}, "cohort": 1}
    with Simulation(small_config(texts, selection=selection, **groups), data) as simulation:
        before = simulation.state.parameters.rows.clone()
        record = simulation.run_round()
        moved = (simulation.state.parameters.rows != before).any(1)
    assert record.reports[0].rows < data.size
    assert bool(moved.all())


def test_a_run_with_planes_trains_as_the_full_layer_does(texts: Path) -> None:
    """With own rows and one more, where a client takes one step; the sample is far from it."""
    data, found = small_data(texts), {}
    kinds: dict[str, dict[str, Any]] = {
        "full": {"retrieval": {"method": "full"}},
        "planes": {"selection": {"extra": 1}},
        "sample": {"selection": {"extra": 1, "correction": "tail"}},
    }
    for name, groups in kinds.items():
        config = small_config(texts, client={"learning_rate": 0.5, "batch_size": 99}, cohort=9, **groups)
        with Simulation(config, data) as simulation:
            for _ in range(15):
                simulation.run_round()
            found[name] = simulation.evaluate()["nll"]
    assert abs(found["planes"] - found["full"]) < 0.1 * abs(found["sample"] - found["full"])


REFUSED: list[tuple[dict[str, Any], str]] = [
    (
        {"selection": {"delivery": "broadcast"}},
        "selection.correction = control-variate: needs selection.delivery on-demand, not broadcast, ",
    ),
    (
        {"selection": {"delivery": "pre-generated"}, "retrieval": {"method": "simhash-union"}},
        "selection.correction = control-variate: needs selection.delivery on-demand, not pre-generated, ",
    ),
    *[
        (
            {"retrieval": {"method": method}},
            f"selection.correction = control-variate: the keys of retrieval.method {method} say nothing of "
            "where queries are; needs selection.points sketch, or method exact, ",
        )
        for method in ("random", "frequency", "cells", "simhash-union", "simhash-collisions")
    ],
]


@pytest.mark.parametrize(("groups", "text"), REFUSED)
def test_planes_that_cannot_be_are_refused(groups: dict[str, Any], text: str) -> None:
    groups = {**groups, "selection": {**groups.get("selection", {}), "correction": "control-variate"}}
    with pytest.raises(HashfedError) as caught:
        make_config(groups)
    assert str(caught.value).startswith(text)
    assert "\n" not in str(caught.value)
    for other in ("auto", "tail"):
        make_config({**groups, "selection": {**groups["selection"], "correction": other}})


def test_a_sketch_gives_every_method_planes() -> None:
    for method in ("random", "frequency", "cells", "simhash-union", "simhash-collisions"):
        make_config(
            {
                "retrieval": {"method": method},
                "selection": {"correction": "control-variate", "points": "sketch"},
            }
        )


def test_the_command_ends_with_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "config.yaml"
    path.write_text("selection: {correction: control-variate, delivery: broadcast}\n")
    assert main(["train", str(path)]) == 2
    found = capsys.readouterr()
    assert found.err.startswith("hashfed: ")
    assert "selection.correction = control-variate: needs selection.delivery on-demand" in found.err
    assert found.err.count("\n") == 1
