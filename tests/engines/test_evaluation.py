from pathlib import Path

import numpy as np
import pytest
import torch

from hashfed.engines import evaluation
from hashfed.engines.budget import build_model
from hashfed.engines.evaluation import held_out_examples
from hashfed.engines.local.simulator import Simulation
from hashfed.models import Batch, Targets
from hashfed.models.protocol import OUTPUT
from hashfed.randomness import stream
from hashfed.tasks.next_word.metrics import NextWordMetrics
from hashfed.tasks.next_word.vocabulary import PAD
from small import small_config, small_data


def test_evaluation_equals_all_logits_at_once(texts: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(evaluation, "BATCH", 3)
    monkeypatch.setattr(evaluation, "CHUNK", 7)
    data, config = small_data(texts), small_config(texts)
    with Simulation(config, data) as simulation:
        found = simulation.evaluate()
    model = build_model(config)
    parameters = model.init({"output": data.size}, stream(0, "init"))
    inputs = np.concatenate([client.examples.columns()["inputs"] for client in data.held_out]).astype(
        np.int64
    )
    targets = np.concatenate([client.examples.columns()["targets"] for client in data.held_out]).astype(
        np.int64
    )
    predicted = torch.from_numpy(targets != PAD)
    wanted = Targets(torch.from_numpy(targets)[predicted])
    columns = {"inputs": torch.from_numpy(inputs), "predicted": predicted}
    batch = Batch(columns, {"inputs": OUTPUT}, wanted)
    queries = model.queries(parameters.body, {OUTPUT: parameters.rows}, model.pack(batch))
    logits = queries @ parameters.rows.T
    metrics = NextWordMetrics()
    expected = metrics.metrics(metrics.sums(logits, wanted))
    assert found == pytest.approx(expected, rel=1e-5)


def test_a_sample_is_fixed_and_of_the_size_asked_for(texts: Path) -> None:
    clients = small_data(texts).held_out
    one, two = (held_out_examples(clients, 5, seed=3).take(np.arange(5)) for _ in range(2))
    assert len(held_out_examples(clients, 5, seed=3)) == 5
    assert np.array_equal(one.columns()["inputs"], two.columns()["inputs"])
    assert len(held_out_examples(clients, None, 3)) == sum(len(c.examples) for c in clients)
    assert len(held_out_examples(clients, 10**6, 3)) == sum(len(c.examples) for c in clients)


def test_the_end_may_be_measured_on_a_sample(texts: Path) -> None:
    """Of another size than while training; the fixed one of that size."""
    data = small_data(texts)
    found = {}
    for name, settings in {"few": {"examples": 3}, "more": {"examples": 3, "final_examples": 8}}.items():
        with Simulation(small_config(texts, evaluation=settings), data) as simulation:
            found[name] = simulation.evaluate(), simulation.evaluate(everything=True)
    with Simulation(small_config(texts, evaluation={"examples": 8}), data) as simulation:
        eight = simulation.evaluate()
    assert found["few"][0] == found["more"][0] != found["more"][1]
    assert found["more"][1] == eight != found["few"][1]
