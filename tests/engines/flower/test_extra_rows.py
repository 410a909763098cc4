"""Budgets beyond what a client's data needs (``selection.extra``): the same rows in every engine."""

from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
import torch
from flwr.app import Message
from hypothesis import given
from hypothesis import strategies as st

from hashfed.config import load_config, make_config
from hashfed.engines.budget import device_budget
from hashfed.engines.client_round import ClientRound
from hashfed.engines.flower import records
from hashfed.engines.flower.client_app import app
from hashfed.engines.flower.rounds import FlowerRounds
from hashfed.engines.local.simulator import Simulation
from hashfed.errors import HashfedError
from hashfed.federated.messages import ClientKeys, Declare
from hashfed.federated.server import retrieve
from hashfed.randomness import stream
from hashfed.retrieval import SelectionSettings, build_index, retrieval_settings
from hashfed.retrieval.select import extra_rows
from loopback import LoopbackGrid, partitions
from small import prepare, small_config, small_data

ALL = 44
"""Rows of the small model, of length 8."""
CASES: list[tuple[dict[str, Any], int, int]] = [
    # Settings; rows beyond the own ones; the most rows.
    ({"selection": {"extra": 0}}, 0, ALL),
    ({"selection": {"extra": 3}}, 3, ALL),
    ({"selection": {"extra": 1.0}}, 1, ALL),
    ({"selection": {"extra": 0.1}}, 4, ALL),
    ({"selection": {"extra": 0.001}}, 0, ALL),
    ({"selection": {"extra": 1000}}, 1000, ALL),
    ({"selection": {"extra": 5, "max_rows": 12}}, 5, 12),
    ({"selection": {"extra": 5, "max_bytes": 15 * 32}}, 5, 15),
    ({"selection": {"extra": 5, "max_rows": 12}, "client": {"own_rows": "truncate"}}, 5, 12),
    ({"selection": {"extra": 5, "max_bytes": 10**9}}, 5, ALL),
    ({"selection": {"extra": 5, "budget": 0.1}, "retrieval": {"method": "frequency"}}, 5, ALL),
    ({"selection": {"extra": 5, "delivery": "broadcast"}}, 5, ALL),
    (
        {
            "selection": {"extra": 5, "sampling": "top", "oversample": 1.5},
            "retrieval": {"method": "simhash-union"},
        },
        5,
        ALL,
    ),
    (
        {"selection": {"extra": 5, "delivery": "pre-generated"}, "retrieval": {"method": "simhash-union"}},
        5,
        ALL,
    ),
]


@pytest.mark.parametrize(("groups", "extra", "most"), CASES, ids=lambda item: str(item))
def test_a_client_holds_its_own_rows_and_so_many_more(
    texts: Path, tmp_path: Path, groups: dict[str, Any], extra: int, most: int
) -> None:
    data = small_data(texts)
    flower = {"clients": len(data.train), "slices": str(tmp_path / "slices")}
    config = small_config(texts, cohort=9, rounds=1, flower=flower, **groups)
    with Simulation(config, data) as simulation:
        expected = simulation.run_round()
        parameters = simulation.state.parameters.clone()
    for report in expected.reports:
        assert report.rows == max(report.own_rows, min(report.own_rows + extra, most))
        if config.client.own_rows == "truncate":
            assert report.own_rows <= most
    with FlowerRounds(LoopbackGrid(app, partitions(texts)), config, data) as engine:
        found = engine.run_round()
        assert found.failed == {}
        assert found.loss == expected.loss
        for one, other in zip(found.reports, expected.reports, strict=True):
            assert (one.rows, one.bytes) == (other.rows, other.bytes)
        for name, value in engine.state.parameters.named().items():
            assert torch.equal(value, parameters.named()[name])


@pytest.mark.parametrize("device", [1, 12, 20, ALL, 10**9])
@pytest.mark.parametrize("groups", [{}, {"client": {"own_rows": "truncate"}}])
def test_a_device_that_holds_fewer_rows(
    texts: Path, monkeypatch: pytest.MonkeyPatch, device: int, groups: dict[str, object]
) -> None:
    """Every second client: it is sent no more than its device holds, and its update is accepted."""
    data = small_data(texts)
    flower = {"clients": len(data.train)}
    config = small_config(texts, cohort=9, rounds=1, flower=flower, selection={"extra": 6}, **groups)

    def own(self: ClientRound) -> int:
        odd = int(self.client.name.removeprefix("c")) % 2 == 1
        return device if odd else device_budget(config, self.size)

    monkeypatch.setattr(ClientRound, "budget", property(own))
    with Simulation(config, data) as simulation:
        expected = simulation.run_round()
    with FlowerRounds(LoopbackGrid(app, partitions(texts)), config, data) as engine:
        found = engine.run_round()
    assert found.failed == {}
    assert found.loss == expected.loss
    for one, other in zip(found.reports, expected.reports, strict=True):
        odd = int(one.client.removeprefix("c")) % 2 == 1
        most = min(device if odd else ALL, one.own_rows + 6)
        assert one.rows == other.rows == max(most, one.own_rows)


@pytest.mark.parametrize("many", [False, True])
def test_a_client_that_declares_too_much(texts: Path, many: bool) -> None:
    """A large budget gives it no more rows; more own rows than its data can need are refused."""
    config, data = prepare(texts)
    groups = {"selection": {"extra": 2}, "client": {"examples": 1}, "data": {"sentence_length": 6}}
    config = small_config(texts, cohort=9, flower=config.flower.model_dump(), **groups)

    def interfere(node: int, reply: Message) -> Message:
        if node == 2 and reply.has_content() and "head" in reply.content:
            parcel = records.unpack(reply.content)
            for kinds in parcel.messages.values():
                if "declare" in kinds:
                    said = replace(cast(Declare, kinds["declare"]), budget=10**9)
                    kinds["declare"] = replace(said, own=np.arange(30, dtype=np.int32)) if many else said
            for name, record in records.pack(parcel).items():
                reply.content[name] = record
        return reply

    with FlowerRounds(LoopbackGrid(app, partitions(texts), interfere), config, data) as engine:
        record = engine.run_round()
    assert bool(record.failed) == many
    assert all(text.startswith("own: 30 rows: at most ") for text in record.failed.values())
    assert all(report.rows == report.own_rows + 2 for report in record.reports)


@given(
    size=st.integers(1, 60),
    needed=st.sets(st.integers(0, 59)),
    extra=st.one_of(st.integers(0, 80), st.floats(0, 1, exclude_max=True)),
    max_rows=st.none() | st.integers(1, 70),
    device=st.integers(1, 10**9),
    sampling=st.sampled_from(["top", "proportional"]),
    method=st.sampled_from(["random", "frequency"]),
    seed=st.integers(0, 100),
)
def test_a_selection_has_own_rows_and_the_extra_ones(
    size: int,
    needed: set[int],
    extra: float,
    max_rows: int | None,
    device: int,
    sampling: str,
    method: str,
    seed: int,
) -> None:
    """Law 7: whatever the limits, own rows are in; ids ascend and are in range."""
    own = np.array(sorted(row for row in needed if row < size), np.int32)
    settings = SelectionSettings.model_validate({"extra": extra, "max_rows": max_rows, "sampling": sampling})
    retrieval = retrieval_settings(method)
    index = build_index(torch.ones(size, 4), retrieval, np.arange(size), 0)
    declared = Declare(1, own, device)
    found, _ = retrieve(index, ClientKeys(1, {}), declared, size, 4, settings, stream(seed, "select"))
    budget = min(size, device, max_rows or size, max(1, len(own) + extra_rows(extra, size)))
    assert len(found.ids) == max(len(own), budget)
    assert np.isin(own, found.ids).all()
    assert (np.diff(found.ids) > 0).all()
    assert found.ids[0] >= 0
    assert found.ids[-1] < size
    assert (found.log_weight[np.isin(found.ids, own)] == 0).all()


def test_shares_and_numbers() -> None:
    found = [extra_rows(extra, 30_000) for extra in (0, 0.01, 0.999, 1, 300, 10**9)]
    assert found == [0, 300, 29_970, 1, 300, 10**9]


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (1.5, "selection.extra = 1.5: must be a fraction below 1, or a whole number of rows"),
        (-1, "selection.extra = -1: input should be greater than or equal to 0 (allowed: ≥ 0)"),
        (float("nan"), "selection.extra = nan: input should be a finite number"),
        (float("inf"), "selection.extra = inf: input should be a finite number"),
        ("1%", "selection.extra = '1%': input should be a valid number"),
        (True, "selection.extra = True: input should be a valid number"),
    ],
)
def test_what_is_no_number_of_extra_rows(value: object, text: str) -> None:
    with pytest.raises(HashfedError) as caught:
        make_config({"selection": {"extra": value}})
    assert str(caught.value).startswith(text)
    assert "\n" not in str(caught.value)


def test_a_folder_says_which_budget_it_is_of() -> None:
    found = [
        str(make_config({"selection": selection}).folder())
        for selection in ({}, {"extra": 0.01}, {"extra": 300}, {"extra": 0})
    ]
    names = ["10%", "own+1%", "own+300", "own+0%"]
    assert [folder.rpartition("query-centroids-")[2] for folder in found] == [
        f"{name}-seed0" for name in names
    ]


def test_a_budget_that_would_be_ignored_is_refused() -> None:
    with pytest.raises(HashfedError) as caught:
        make_config({"selection": {"extra": 0.01, "budget": 0.9}})
    said = "selection.budget = 0.9: has no effect with extra = 0.01; set extra none, or no budget"
    assert str(caught.value) == said
    assert make_config({"selection": {"extra": None, "budget": 0.9}}).selection.budget == 0.9


def test_the_command_line_s_way_of_saying_how_many_rows_wins(tmp_path: Path) -> None:
    file = tmp_path / "a.yaml"
    for said, override, found in (
        ("budget: 0.6", {"selection.extra": "0.01"}, (0.1, 0.01)),
        ("extra: 0.01", {"selection.budget": "0.6"}, (0.6, None)),
        ("extra: 0.01", {"selection.tail": "0.5"}, (0.1, 0.01)),
        ("budget: 0.6", {"selection.extra": "none"}, (0.6, None)),
    ):
        file.write_text(f"selection: {{{said}}}\n")
        selection = load_config(file, override).selection
        assert (selection.budget, selection.extra) == found
    with pytest.raises(HashfedError, match="has no effect with extra"):
        load_config(file, {"selection.budget": "0.6", "selection.extra": "0.05"})
