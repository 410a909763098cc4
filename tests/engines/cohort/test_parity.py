"""The cohort as one batch gives the simulator's numbers but for rounding."""

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from hashfed.config import Config
from hashfed.engines.budget import asks_for_keys
from hashfed.engines.client_round import ClientReport
from hashfed.engines.cohort.simulation import CohortSimulation
from hashfed.engines.local.simulator import Simulation
from hashfed.engines.single_thread import single_thread
from hashfed.errors import HashfedError
from hashfed.tasks.registry import make_task
from interactions import item_config, write_interactions
from small import INSTALLED, fitting, small_config, write_texts
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


def check_parity(config: Config, tolerance: float | None = None, rounds: int = ROUNDS) -> None:
    """Reports are equal but for times; losses, parameters, metrics, and who held which rows are close."""
    data = make_task(config.data).load("test")
    exact = not asks_for_keys(config)
    if tolerance is None:
        tolerance = EXACT if exact else KEYED
    with Simulation(config, data) as one, CohortSimulation(config, data) as other:
        for _ in range(rounds):
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


@pytest.mark.parametrize("method", INSTALLED)
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


CHOICES: dict[str, dict[str, list[Any]]] = {
    "retrieval": {
        "method": ["frequency", "frequency", "random", "full", "query-centroids", "query-codes"],
        "refresh": [1, 2, 3],
        "counts": ["public", "declared"],
        "precision": ["float32", "bfloat16"],
        "inverse_temperature": [1.0, 0.3],
        "prior_strength": [1.0, 0.0],
    },
    "selection": {
        "budget": [0.6, 0.05, 0.3, 1.0],
        "extra": [None, 0, 1, 3, 0.2],
        "max_rows": [None, 1, 12],
        "planes": [32, 0],
        "sampling": ["proportional", "top"],
        "oversample": [1.0, 1.5],
        "tail": [0.1, 0.0, 1.0],
        "correction": ["auto", "tail", "none"],
    },
    "client": {
        "batch_size": [2, 1, 100],
        "epochs": [1, 3],
        "examples": [6, 1],
        "clip": [None, 0.5],
        "own_rows": ["keep", "truncate"],
    },
    "server": {
        "row_average": ["cohort", "holders", "fedsubavg"],
        "weighting": ["predictions", "uniform"],
        "clip": [None, 0.05],
    },
    "model": {"tie_embeddings": [True, False]},
    "compression": {"rows": ["none", "none", "none", "float16"]},
}
FEW, MANY = 24, 600
"""Random settings tried each time, and by name (``-m slow``)."""


def random_config(seed: int, texts: Path) -> Config:
    """Settings of which each is the usual one or, in a third of all cases, one of the others."""
    rng = np.random.default_rng(seed)
    while True:
        tree: dict[str, Any] = {"cohort": int(rng.choice([5, 1, 9])), "server": dict(PLAIN)}
        for group, settings in CHOICES.items():
            for name, values in settings.items():
                if name == "method" or rng.random() < 1 / 3:
                    tree.setdefault(group, {})[name] = values[int(rng.integers(len(values)))]
        method = tree["retrieval"].pop("method")
        tree["retrieval"] = fitting(method, bits=3, tables=6, **tree["retrieval"])
        selection = tree.get("selection", {})
        if selection.get("extra") is not None:
            selection.pop("budget", None)
        with suppress(HashfedError):  # what does not go together is drawn anew
            return small_config(texts, **tree)


def check_random(seeds: range, texts: Path) -> None:
    for seed in seeds:
        config = random_config(seed, texts)
        tolerance = 1e-2 if config.compression.rows != "none" else None
        if getattr(config.retrieval, "precision", "float32") != "float32":
            tolerance = 5e-2  # chances of 8 bits differ in the last
        try:
            check_parity(config, tolerance, rounds=2)
        except AssertionError as error:
            raise AssertionError(f"seed {seed}:\n{config.to_yaml()}") from error


def test_some_random_settings(texts: Path) -> None:
    check_random(range(FEW), texts)


@pytest.mark.slow
def test_many_random_settings(texts: Path) -> None:
    check_random(range(MANY), texts)
