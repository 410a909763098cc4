"""Training as one batch is that of each client by itself, to the last digits of numbers of 64 bits."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from hashfed.config import Config
from hashfed.engines.cohort.joined import JoinedExamples
from hashfed.engines.cohort.member import Member
from hashfed.engines.cohort.planes import CohortPlanes
from hashfed.engines.cohort.selecting import ask, select
from hashfed.engines.cohort.simulation import CohortSimulation
from hashfed.engines.cohort.training import train_members
from hashfed.federated import client as client_side
from hashfed.federated.client import LocalModel
from hashfed.models import Parameters, transformer
from hashfed.retrieval.planes import Planes
from hashfed.tasks.registry import make_task
from interactions import item_config, write_interactions
from small import small_config, write_texts
from small_labels import labels_config, write_data


@pytest.fixture
def double() -> Iterator[Callable[[], None]]:
    """Makes numbers 64 bits wide from then on."""

    def widen() -> None:
        transformer._sinusoids.cache_clear()
        torch.set_default_dtype(torch.float64)

    yield widen
    transformer._sinusoids.cache_clear()
    torch.set_default_dtype(torch.float32)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    write_texts(folder / "texts.jsonl")
    write_interactions(folder / "items.txt")
    write_data(folder)
    return folder


def played(config: Config) -> tuple[CohortSimulation, list[Member], JoinedExamples, CohortPlanes]:
    """A cohort that has its rows, chosen with numbers of 32 bits."""
    data = make_task(config.data).load("test")
    simulation = CohortSimulation(config, data)
    there, state = simulation._server(1), simulation.state
    clients = data.train[: config.cohort]
    members = [simulation._member(client, 1, place) for place, client in enumerate(clients)]
    joined = JoinedExamples(simulation.model, [member.here.examples for member in members])
    ask(there, simulation.model, state.parameters, members, joined)
    planes = select(there, members)
    return simulation, members, joined, planes


def widened(local: LocalModel) -> LocalModel:
    planes = None if local.planes is None else Planes(*(value.double() for value in local.planes.tensors()))
    weight = None if local.log_weight is None else local.log_weight.double()
    return replace(local, log_weight=weight, planes=planes)


CASES: dict[str, Any] = {
    "full": {"retrieval": {"method": "full"}},
    "planes": {},
    "sample": {"selection": {"correction": "tail"}},
    "epochs": {"client": {"epochs": 2, "batch_size": 2}},
    "clip": {"client": {"clip": 0.3}},
}


@pytest.mark.parametrize("task", ["words", "items", "labels", "binary labels"])
@pytest.mark.parametrize("case", CASES)
def test_each_update_is_its_own(case: str, task: str, folder: Path, double: Callable[[], None]) -> None:
    groups = CASES[case]
    if task == "words":
        config = small_config(folder / "texts.jsonl", **groups)
    elif task == "items":
        model = {"name": "sasrec", "embedding": 8, "dropout": 0.3}
        config = item_config(folder / "items.txt", model=model, **groups)
    else:
        loss = "softmax" if task == "labels" else "binary"
        config = labels_config(folder, data={"loss": loss}, **groups)
    simulation, members, joined, planes = played(config)
    parameters = simulation.state.parameters
    double()
    sent = Parameters(
        {name: value.double() for name, value in parameters.tables.items()},
        {name: value.double() for name, value in parameters.body.items()},
    )
    loss_of = simulation.task.loss
    assert loss_of.stacked is not None
    members = sorted(members, key=lambda one: one.steps, reverse=True)
    together = train_members(members, joined, sent, planes, loss_of.stacked, 10**6)
    updates = list(together.updates())
    for member, update in zip(members, updates, strict=True):
        here, made = member.here, planes.of(member)
        held = member.local(sent, None if made is None else made[0])
        held = client_side.drop_rows(
            here.model, widened(held), here.declared.own, here.examples, here.agreed_budget
        )
        expected, bounded = client_side.train(
            here.model,
            held,
            here.examples,
            config.client,
            loss_of.gradients,
            1,
            here.order,
            here.noise,
        )
        assert together.bounded[members.index(member)] == bounded
        assert update.loss == pytest.approx(expected.loss, rel=1e-9)
        for name, value in expected.tensors().items():
            found = update.tensors()[name]
            torch.testing.assert_close(found, value, rtol=1e-7, atol=1e-9, msg=name)
            assert not found.is_floating_point() or found.dtype == torch.float64
