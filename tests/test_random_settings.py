"""Whatever the settings are: every number of a run is one, or one line says why there is no run."""

import json
import math
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hashfed import HashfedError, RunFolder, make_config, train
from hashfed.cli.main import main
from hashfed.config import Config, setting_fields
from hashfed.retrieval.registry import METHODS
from hashfed.runs import load_data
from hashfed.runs.predict import likeliest
from hashfed.tasks.federated_data import FederatedData
from hashfed.tasks.next_word.vocabulary import Vocabulary
from loopback import LoopbackGrid, partitions
from random_settings import draw, mostly_sound_tree

app = pytest.importorskip("hashfed.engines.flower.client_app").app
server = pytest.importorskip("hashfed.engines.flower.rounds")

FEW, MANY = 25, 3000
"""Configurations tried each time, and by name (``-m slow``)."""


@given(seed=st.integers(0, 2**32))
def test_drawn_values_are_within_the_bounds_of_their_settings(seed: int) -> None:
    rng = np.random.default_rng(seed)
    method = {"retrieval": {"method": sorted(METHODS)[seed % len(METHODS)]}}
    fields = list(setting_fields(make_config(method)))
    name, field = fields[int(rng.integers(len(fields)))]
    columns = ("data.client_column", "data.text_column")
    texts = ("data.source", "data.word_counts", *columns, "output", "retrieval.faiss_factory")
    free = (*texts, "flower.slices", "flower.slices_url")
    if name not in (*free, "selection.extra"):  # which has bounds and a rule beside
        tree: Any = draw(rng, field)
        for part in reversed(name.split(".")):
            tree = {part: tree}
        tree = {**tree, "retrieval": {**method["retrieval"], **tree.get("retrieval", {})}}
        # Alone it may need other settings beside it; then the line does not speak of a bound.
        assert "allowed:" not in complaint(tree)


def complaint(tree: dict[str, Any]) -> str:
    """Why settings are refused; empty where they are not."""
    try:
        make_config(tree)
    except HashfedError as error:
        return str(error)
    return ""


def test_some_random_settings(texts: Path, tmp_path: Path) -> None:
    check(range(FEW), texts, tmp_path)


@pytest.mark.slow
def test_many_random_settings(texts: Path, tmp_path: Path) -> None:
    found = check(range(MANY), texts, tmp_path)
    # With pytest -s: how many of each kind ran.
    sys.stderr.write(json.dumps(found, indent=1))
    assert all(
        found[f"{method}, {engine}: ran"] for method in METHODS for engine in ("simulation", "network")
    )


def check(seeds: range, texts: Path, folder: Path) -> Counter[str]:
    """Two rounds of each in this process; counts how they ended."""
    ends: Counter[str] = Counter()
    for seed in seeds:
        rng = np.random.default_rng(seed)
        output = folder / str(seed)
        tree = mostly_sound_tree(rng, texts, output)
        engine = "network" if rng.random() < 0.5 else "simulation"
        try:
            play(engine, tree, texts, folder)
            check_numbers(output)
            end = "ran"
        except HashfedError as error:
            line = str(error)
            assert line, tree
            assert "\n" not in line, tree
            assert len(line) < 2000, tree
            end = "refused"
            ends[" ".join(line.split()[:2])] += 0
        except Exception as error:
            raise AssertionError(f"seed {seed}, {engine}: {tree}") from error
        ends[f"{tree['retrieval']['method']}, {engine}: {end}"] += 1
    return ends


def play(engine: str, tree: dict[str, Any], texts: Path, folder: Path) -> None:
    """A run of one engine.

    Raises:
        HashfedError: where it is refused.

    """
    config = make_config(tree)
    if engine == "simulation":
        path = folder / "config.yaml"
        path.write_text(config.to_yaml())
        code = main(["train", str(path)])
        if code != 0:
            assert code == 2
            raise HashfedError("refused with exit code 2")
        return
    # All take part, as they do where nobody is late; for more than there are a server waits in vain.
    there = len(load_data(config).train)
    flower = config.flower.model_copy(update={"clients": min(config.flower.clients or there, there)})
    config = config.model_copy(update={"flower": flower})

    def network(config: Config, data: FederatedData[Vocabulary], stop: Any) -> Any:
        return server.FlowerRounds(LoopbackGrid(app, partitions(texts)), config, data)

    train(config, None, network)


def check_numbers(output: Path) -> None:
    """All numbers of a finished run are finite, and its model gives probabilities."""
    run = RunFolder(output)
    for name in ("metrics.jsonl", "timings.jsonl"):
        assert len(run.lines(name)) == 2
        assert all(map(math.isfinite, numbers(run.lines(name))))
    assert all(map(math.isfinite, numbers(run.read_json("summary.json"))))
    words = likeliest(run, ["w1 w2"], 3)[0]
    assert all(0 <= value <= 1 for _, value in words)


def numbers(value: Any) -> Iterator[float]:
    """Every number in nested JSON."""
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list):
        for item in value:
            yield from numbers(item)
    elif isinstance(value, int | float):
        yield value
