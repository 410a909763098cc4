from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from hashfed.config import Config
from hashfed.engines.budget import build_model
from hashfed.engines.checkpoint import load_checkpoint, save_checkpoint
from hashfed.engines.local.simulator import Simulation
from hashfed.engines.single_thread import single_thread
from hashfed.errors import HashfedError
from hashfed.models import Batch, Parameters, Targets
from hashfed.models.protocol import INPUT
from hashfed.randomness import stream
from hashfed.runs.train import round_metrics
from hashfed.stopping import Interrupted
from hashfed.tasks.sequences import PAD
from small import fitting, small_config, small_data

METHODS = ["full", "random", "frequency", "exact", "cells", "simhash-union", "simhash-collisions"]


def outcome(config: Config, data: Any, rounds: int = 2) -> tuple[list[Any], dict[str, float], Parameters]:
    """Metrics lines, evaluation and parameters after some rounds."""
    with Simulation(config, data) as simulation:
        lines = [round_metrics(simulation.run_round()) for _ in range(rounds)]
        return lines, simulation.evaluate(), simulation.state.parameters.clone()


def assert_same(one: tuple[Any, ...], two: tuple[Any, ...]) -> None:
    assert one[0] == two[0]
    assert one[1] == two[1]
    assert all(torch.equal(one[2].named()[name], value) for name, value in two[2].named().items())


@pytest.mark.parametrize("method", METHODS)
def test_every_method_trains(texts: Path, method: str) -> None:
    config = small_config(texts, retrieval={"method": method}, client={"learning_rate": 0.5})
    data = small_data(texts)
    with Simulation(config, data) as simulation:
        before = simulation.evaluate()["nll"]
        for _ in range(25):
            record = simulation.run_round()
        after = simulation.evaluate()
    assert after["nll"] < before - 0.1
    budget = data.size if method == "full" else round(0.6 * data.size)
    assert all(report.rows == max(budget, len(report.own)) for report in record.reports)


def test_selecting_all_rows_equals_the_full_model(texts: Path) -> None:
    data = small_data(texts)
    full = outcome(small_config(texts, retrieval={"method": "full"}), data)
    # Budget 1 sends everything; a budget just below 1 goes through declare, select, gather and join.
    whole = outcome(small_config(texts, selection={"budget": 1.0}), data)
    path = outcome(small_config(texts, selection={"budget": 0.999}), data)
    assert_same(full, whole)
    assert path[1] == full[1]
    assert all(torch.equal(path[2].named()[name], value) for name, value in full[2].named().items())
    assert path[0][0]["bytes"]["declare"] > 0
    assert "declare" not in full[0][0]["bytes"]


def test_full_through_the_selection_path_equals_a_plain_dense_loop(texts: Path) -> None:
    """FedAdam over dense clients, written with torch's own modules and optimizers."""
    data = small_data(texts)
    config = small_config(texts, selection={"budget": 0.999}, client={"epochs": 2}, server={"epsilon": 1e-3})
    found = outcome(config, data, rounds=3)[2]

    model = build_model(config)
    start = model.init({"output": data.size}, stream(config.seed, "init"))
    server = {name: value.clone().requires_grad_() for name, value in start.named().items()}
    rates = config.server
    adam = torch.optim.Adam(
        server.values(), lr=rates.learning_rate, betas=(rates.beta1, rates.beta2), eps=rates.epsilon
    )
    with single_thread():
        for round in range(1, 4):
            chosen = stream(config.seed, "cohort", round).choice(len(data.train), 5, replace=False)
            total = {name: torch.zeros_like(value) for name, value in server.items()}
            weight = 0
            for position in sorted(chosen.tolist()):
                client = data.train[position]
                rng = stream(config.seed, "sample", round, client.name)
                count = min(6, len(client.examples))
                part = client.examples.take(rng.choice(len(client.examples), count, replace=False))
                inputs = torch.from_numpy(part.inputs.astype(np.int64))
                targets = torch.from_numpy(part.targets.astype(np.int64))
                local = {name: value.detach().clone().requires_grad_() for name, value in server.items()}
                body = {name[5:]: value for name, value in local.items() if name.startswith("body.")}
                sgd = torch.optim.SGD(local.values(), lr=config.client.learning_rate)
                rng = stream(config.seed, "train", round, client.name)
                for _ in range(2):
                    for batch in torch.from_numpy(rng.permutation(count)).split(2):
                        used = targets[batch] != PAD
                        columns = {"inputs": inputs[batch], "predicted": used}
                        asked = Batch(columns, {"inputs": INPUT}, Targets(targets[batch][used]))
                        queries = model.queries(body, {INPUT: local["tables.output"]}, model.pack(asked))
                        logits = torch.nn.functional.linear(queries, local["tables.output"])
                        loss = torch.nn.functional.cross_entropy(logits, targets[batch][used])
                        sgd.zero_grad()
                        loss.backward()
                        sgd.step()
                predictions = int((targets != PAD).sum())
                weight += predictions
                for name, value in local.items():
                    total[name] += predictions * (value.detach() - server[name].detach())
            for name, value in server.items():
                value.grad = -total[name] / weight
            adam.step()
    for name, value in found.named().items():
        torch.testing.assert_close(value, server[name].detach(), rtol=2e-5, atol=2e-6)


def test_the_number_of_workers_changes_no_number(texts: Path) -> None:
    data = small_data(texts)
    one = outcome(small_config(texts, workers=1), data)
    three = outcome(small_config(texts, workers=3), data)
    assert_same(one, three)


def test_the_order_of_the_clients_in_the_file_changes_nothing(texts: Path, tmp_path: Path) -> None:
    lines = texts.read_text().splitlines()
    shuffled = tmp_path / "shuffled.jsonl"
    shuffled.write_text("\n".join(reversed(lines)))
    assert_same(
        outcome(small_config(texts), small_data(texts)),
        outcome(small_config(shuffled), small_data(shuffled)),
    )


def test_another_seed_gives_other_numbers(texts: Path) -> None:
    data = small_data(texts)
    one, two = outcome(small_config(texts), data, 1), outcome(small_config(texts, seed=1), data, 1)
    assert one[0][0]["train_loss"] != two[0][0]["train_loss"]


def test_a_stop_leaves_the_state_of_the_last_round(texts: Path) -> None:
    asked = False
    data = small_data(texts)
    with Simulation(small_config(texts), data, lambda: asked) as simulation:
        simulation.run_round()
        before = simulation.state.parameters.clone()
        asked = True
        with pytest.raises(Interrupted):
            simulation.run_round()
        assert simulation.state.round == 1
        after = simulation.state.parameters.named()
        assert all(torch.equal(after[name], value) for name, value in before.named().items())


@pytest.mark.parametrize("workers", [1, 2])
def test_a_simulation_can_go_on_after_a_stop(texts: Path, workers: int) -> None:
    """What workers were doing when the stop came is not mistaken for the next round's answers."""
    data, asked = small_data(texts), False

    with Simulation(small_config(texts, workers=workers), data, lambda: asked) as simulation:
        simulation.run_round()
        asked = True
        with pytest.raises(Interrupted):
            simulation.run_round()
        asked = False
        found = simulation.evaluate()
        second = round_metrics(simulation.run_round())
    lines, _, _ = outcome(small_config(texts), data)
    with Simulation(small_config(texts), data) as simulation:
        simulation.run_round()
        assert simulation.evaluate() == found
    assert second == lines[1]


def test_a_diverging_run_stops_before_the_model_is_ruined(texts: Path) -> None:
    config = small_config(texts, client={"learning_rate": 1e30})
    with Simulation(config, small_data(texts)) as simulation:
        before = simulation.state.parameters.clone()
        with pytest.raises(HashfedError, match=r"round 1: client c\d+: returned a change"):
            simulation.run_round()
        assert torch.equal(simulation.state.parameters.rows, before.rows)


def test_a_cohort_larger_than_the_clients_is_refused(texts: Path) -> None:
    with pytest.raises(HashfedError, match=r"cohort = 500: must be at most .* \d+"):
        Simulation(small_config(texts, cohort=500), small_data(texts))


def test_a_dead_worker_is_reported(texts: Path) -> None:
    with Simulation(small_config(texts, workers=2), small_data(texts)) as simulation:
        simulation.run_round()
        for process in simulation._executor._processes:  # type: ignore[union-attr]
            process.kill()
            process.wait()
        with pytest.raises(HashfedError, match="exit code -9"):
            simulation.run_round()


def test_oversampled_rows_are_dropped_on_the_device(texts: Path) -> None:
    data = small_data(texts)
    config = small_config(texts, selection={"budget": 0.6, "sampling": "top", "tail": 0.1, "oversample": 1.5})
    with Simulation(config, data) as simulation:
        reports = simulation.run_round().reports
    budget = round(0.6 * data.size)
    assert all(report.rows == max(budget, len(report.own)) for report in reports)
    plain = small_config(texts, selection={"budget": 0.6, "sampling": "top", "tail": 0.1})
    with Simulation(plain, data) as simulation:
        fewer = simulation.run_round().reports
    assert sum(r.bytes["rows"] for r in reports) > sum(r.bytes["rows"] for r in fewer)


def test_a_stale_index_answers_with_the_rows_of_the_last_refresh(texts: Path) -> None:
    data = small_data(texts)
    retrieval = {"method": "query-codes", "refresh": 3}
    with Simulation(small_config(texts, retrieval=retrieval), data) as simulation:
        indexed = simulation.state.indexed
        assert indexed is not None
        for number in range(1, 6):
            before = simulation.state.parameters.rows.clone()
            simulation.run_round()
            if number in (1, 4):
                assert torch.equal(indexed, before)
            else:
                assert not torch.equal(indexed, before)
    every = {"method": "query-codes", "refresh": 1}
    with Simulation(small_config(texts, retrieval=every), data) as simulation:
        assert simulation.state.indexed is None


def test_the_declared_prior_counts_the_clients_that_needed_a_row(texts: Path) -> None:
    data = small_data(texts)
    config = small_config(texts, retrieval={"method": "frequency", "counts": "declared"})
    with Simulation(config, data) as simulation:
        expected = np.zeros(data.size)
        for _ in range(2):
            for report in simulation.run_round().reports:
                expected[report.own] += 1
        assert simulation.state.declared is not None
        np.testing.assert_array_equal(simulation.state.declared.numpy(), expected)
        assert expected.max() > 1


@pytest.mark.parametrize(
    ("limits", "rows"),
    [({"max_rows": 7}, 7), ({"max_bytes": 8 * 4 * 9 + 3}, 9), ({"max_rows": 50, "max_bytes": 10**9}, 26)],
)
def test_the_least_limit_is_the_budget(texts: Path, limits: dict[str, int], rows: int) -> None:
    data = small_data(texts)
    selection = {"budget": 0.6, **limits}
    with Simulation(small_config(texts, selection=selection), data) as simulation:
        reports = simulation.run_round().reports
    assert all(report.rows == max(rows, len(report.own)) for report in reports)


@pytest.mark.parametrize("method", ["simhash-collisions", "query-centroids", "frequency", "cells"])
@pytest.mark.parametrize("changed", ["resumed in mid-period", "three workers"])
def test_stale_indexes_and_declared_counts_survive(
    method: str, changed: str, texts: Path, tmp_path: Path
) -> None:
    data = small_data(texts)
    retrieval = fitting(method, refresh=3, counts="declared", cells=5)
    config = small_config(texts, retrieval=retrieval)
    with Simulation(config, data) as simulation:
        for _ in range(5):
            simulation.run_round()
        expected = simulation.state.parameters.clone()
    if changed == "three workers":
        config = small_config(texts, retrieval=retrieval, workers=3)
    with Simulation(config, data) as simulation:
        for _ in range(2):
            simulation.run_round()
        if changed == "three workers":
            for _ in range(3):
                simulation.run_round()
            found = simulation.state.parameters.clone()
        else:
            save_checkpoint(tmp_path, simulation.state)
    if changed == "resumed in mid-period":
        with Simulation(config, data) as simulation:
            assert load_checkpoint(tmp_path, simulation.state)
            for _ in range(3):
                simulation.run_round()
            found = simulation.state.parameters.clone()
    for name, value in expected.named().items():
        assert torch.equal(found.named()[name], value)


def test_a_stale_index_gives_other_rows_than_a_fresh_one(texts: Path) -> None:
    data = small_data(texts)
    found = {}
    for refresh in (1, 3):
        retrieval = {"method": "simhash-collisions", "refresh": refresh}
        with Simulation(small_config(texts, retrieval=retrieval), data) as simulation:
            rows = []
            for _ in range(3):
                simulation.run_round()
                rows.append(simulation.state.parameters.rows.clone())
            found[refresh] = rows
    # Round 1 has the same index; later rounds of the second run still use it.
    assert torch.equal(found[1][0], found[3][0])
    assert not torch.equal(found[1][2], found[3][2])


def test_a_budget_in_which_no_row_fits_is_refused(texts: Path) -> None:
    data = small_data(texts)
    config = small_config(texts, selection={"max_bytes": 31})
    message = r"selection\.max_bytes = 31: one row takes 32 bytes"
    with Simulation(config, data) as simulation, pytest.raises(HashfedError, match=message):
        simulation.run_round()
