"""The cohort as one batch gives the simulator's numbers but for rounding."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from hashfed.config import Config
from hashfed.engines.budget import asks_for_keys
from hashfed.engines.client_round import ClientReport
from hashfed.engines.cohort.simulation import CohortSimulation
from hashfed.engines.local.simulator import Simulation
from hashfed.engines.single_thread import single_thread
from hashfed.retrieval import METHODS
from hashfed.tasks.registry import make_task
from interactions import item_config, write_interactions
from small import fitting, small_config, write_texts
from small_labels import labels_config, write_data

ROUNDS = 5
PLAIN = {"optimizer": "fedavg", "learning_rate": 1.0}
"""A server whose step has no root: what is small stays small."""


@pytest.fixture(autouse=True)
def alone() -> Iterator[None]:
    with single_thread():
        yield


@pytest.fixture(scope="module")
def texts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_texts(tmp_path_factory.mktemp("texts") / "texts.jsonl")


@pytest.fixture(scope="module")
def items(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_interactions(tmp_path_factory.mktemp("items") / "items.txt")


@pytest.fixture(scope="module")
def labels(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_data(tmp_path_factory.mktemp("labels"))


EXACT, KEYED = 2e-5, 1e-2
"""Relative. A key that is made of a number may round to the next one, which makes other chances, and may draw
another row."""


def check_parity(config: Config, tolerance: float | None = None) -> None:
    """Reports are equal but for times; losses, parameters, metrics, and who held which rows are close."""
    data = make_task(config.data).load("test")
    exact = not asks_for_keys(config)
    if tolerance is None:
        tolerance = EXACT if exact else KEYED
    with Simulation(config, data) as one, CohortSimulation(config, data) as other:
        for _ in range(ROUNDS):
            first, second = one.run_round(), other.run_round()
            assert second.loss == pytest.approx(first.loss, rel=tolerance)
            assert second.clipped == first.clipped
            for here, there in zip(first.reports, second.reports, strict=True):
                assert told(here) == told(there)
                if here.bounded is not None and there.bounded is not None:
                    assert abs(here.bounded - there.bounded) <= (0 if exact else 0.1 * here.predictions)
        for name, value in one.state.parameters.named().items():
            found = other.state.parameters.named()[name]
            scale = float(value.abs().max())
            torch.testing.assert_close(found, value, rtol=0, atol=tolerance * max(1.0, scale), msg=name)
        for name, held in one.state.shares.held.items():
            same = (held == other.state.shares.held[name]).mean()
            assert same == 1 if exact else same > 0.9
        assert other.evaluate() == pytest.approx(one.evaluate(), rel=50 * tolerance)


def told(report: ClientReport) -> dict[str, Any]:
    found = {name: value for name, value in vars(report).items() if name not in ("seconds", "bounded")}
    found["own"] = found["own"].tolist()
    return found


@pytest.mark.parametrize("method", METHODS)
def test_words_by_every_method(method: str, texts: Path) -> None:
    retrieval = fitting(method, subspaces=4)
    check_parity(small_config(texts, retrieval=retrieval, server=PLAIN))


CASES: dict[str, dict[str, Any]] = {
    "sample": {"selection": {"correction": "tail"}},
    "sample by counts": {"retrieval": {"method": "frequency"}, "selection": {"correction": "tail"}},
    "paper": {"selection": {"correction": "none", "sampling": "top"}},
    "oversampled": {"selection": {"sampling": "top", "oversample": 1.5, "budget": 0.5}},
    "own and some": {"selection": {"extra": 3}},
    "own alone": {"selection": {"extra": 0}},
    "sketch": {"retrieval": {"method": "simhash-collisions"}, "selection": {"points": "sketch"}},
    "merged points": {"selection": {"planes": 2}},
    "warm": {"retrieval": {"inverse_temperature": 0.5}},
    "stale points": {"retrieval": {"method": "query-codes", "refresh": 2}},
    "bfloat16": {"retrieval": {"precision": "bfloat16"}},
    "broadcast": {"selection": {"delivery": "broadcast"}, "retrieval": {"method": "frequency"}},
    "epochs": {"client": {"epochs": 3, "own_rows": "truncate"}, "selection": {"budget": 0.3}},
    "client clip": {"client": {"clip": 0.5}},
    "client clip of unequal rows": {
        "client": {"clip": 0.5},
        "retrieval": {"method": "frequency"},
        "selection": {"extra": 2},
    },
    "server clip": {"server": {**PLAIN, "clip": 0.5}},
    "holders": {"server": {**PLAIN, "row_average": "holders", "weighting": "uniform"}},
    "fedsubavg": {"server": {**PLAIN, "row_average": "fedsubavg"}},
    "untied": {"model": {"tie_embeddings": False}},
    "untied clip": {"model": {"tie_embeddings": False}, "client": {"clip": 0.5}},
    "declared": {"retrieval": {"method": "query-centroids", "counts": "declared", "refresh": 2}},
    "float16 both ways": {"compression": {"rows": "float16", "updates": "float16"}, "tolerance": 1e-2},
    "int8": {"compression": {"updates": "int8", "error_feedback": True}, "tolerance": 2e-2},
    "adam": {"server": {"optimizer": "fedadam", "learning_rate": 0.01}},
    "lazy": {
        "retrieval": {"method": "random"},
        "server": {"row_moments": "lazy", "optimizer": "fedyogi"},
        "tolerance": 1e-3,
    },
    "long": {"data": {"sentence_length": 70}},
}


@pytest.mark.parametrize("case", CASES)
def test_words_by_every_estimator(case: str, texts: Path) -> None:
    groups = {"server": PLAIN, **CASES[case]}
    tolerance = groups.pop("tolerance", None)
    check_parity(small_config(texts, **groups), tolerance)


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("rows", ["cohort", "fedsubavg"])
def test_words_of_one_step_on_all_rows(rows: str, tied: bool, texts: Path) -> None:
    check_parity(
        small_config(
            texts,
            retrieval={"method": "full"},
            client={"batch_size": 100},
            server={**PLAIN, "row_average": rows},
            model={"tie_embeddings": tied},
        )
    )


@pytest.mark.parametrize("method", ["full", "query-centroids", "simhash-union"])
@pytest.mark.parametrize("batch_size", [2, 100])
@pytest.mark.parametrize("loss", ["softmax", "binary"])
def test_labels(loss: str, batch_size: int, method: str, labels: Path) -> None:
    groups = {"data": {"loss": loss}, "retrieval": {"method": method}, "client": {"batch_size": batch_size}}
    check_parity(labels_config(labels, **groups, server=PLAIN))


@pytest.mark.parametrize("method", ["full", "query-centroids", "exact"])
@pytest.mark.parametrize("dropout", [0.0, 0.3])
def test_items(dropout: float, method: str, items: Path) -> None:
    model = {"name": "sasrec", "embedding": 8, "blocks": 2, "dropout": dropout}
    check_parity(item_config(items, retrieval={"method": method}, model=model, server=PLAIN))
