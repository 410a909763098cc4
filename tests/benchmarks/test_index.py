import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from benchmarks.index.__main__ import main
from benchmarks.index.measure import index_bytes, measure_index, measure_truth, optimum
from benchmarks.index.problem import ClientQueries, Problem, synthetic_problem
from benchmarks.index.result import summarize
from benchmarks.index.variants import VARIANTS, fitted
from hashfed.retrieval import RetrievalSettings, build_index
from hashfed.runs import train
from small import small_config


def problem() -> Problem:
    """Rows e₁, 2e₁, e₂ and −e₁, one client with the query log 3 · e₁ and the own row 3."""
    rows = torch.tensor([[1.0, 0.0], [2.0, 0.0], [0.0, 1.0], [-1.0, 0.0]])
    query = torch.tensor([[float(np.log(3)), 0.0]])
    return Problem("hand", rows, np.array([1.0, 0.0, 5.0, 0.0]), [ClientQueries(query, np.array([3]))])


def test_coverage_and_recall_by_hand() -> None:
    # exp(logits) = 3, 9, 1, 1/3: the softmax is 9/40, 27/40, 3/40, 1/40.
    truth = measure_truth(problem())
    np.testing.assert_allclose(truth[0].mass, np.array([9, 27, 3, 1]) / 40, rtol=1e-6)
    best = optimum(problem(), truth, [0.25, 0.5, 1.0])
    # The own row 3 is always in; then row 1.
    np.testing.assert_allclose(best["coverage"], [1 / 40, 28 / 40, 1], rtol=1e-6)
    # All four rows are among the 100 nearest.
    assert best["recall"] == [0.25, 0.5, 1.0]
    found = measure_index(problem(), truth, RetrievalSettings(method="frequency"), [0.5], seed=0)
    np.testing.assert_allclose(found["coverage"], [4 / 40], rtol=1e-6)  # rows 2 and 3
    exact = measure_index(problem(), truth, RetrievalSettings(method="exact"), [0.25, 0.5, 1.0], seed=0)
    assert exact["coverage"] == best["coverage"]
    assert exact["key_bytes"] == 2 * 4


def test_an_index_s_bytes_are_its_arrays_without_rows_and_counts() -> None:
    rows = torch.randn(50, 4, generator=torch.Generator().manual_seed(0))
    assert index_bytes(build_index(rows, RetrievalSettings(method="exact"), np.ones(50), 0)) == 0
    assert index_bytes(build_index(rows, RetrievalSettings(method="frequency"), np.ones(50), 0)) == 0
    tables = build_index(rows, RetrievalSettings(method="simhash-union", bits=3, tables=5), np.ones(50), 0)
    assert index_bytes(tables) >= 5 * 50 * 4 + 5 * 8 * 8


def test_a_synthetic_layer_has_its_frequencies_as_base_measure() -> None:
    made = synthetic_problem(2000, 16, 3, seed=0)
    assert made.rows.shape == (2000, 16)
    assert len(made.clients) == 3
    again = synthetic_problem(2000, 16, 3, seed=0)
    assert torch.equal(made.rows, again.rows)
    assert torch.equal(made.clients[2].queries, again.clients[2].queries)
    truth = measure_truth(made)
    mass = np.stack([client.mass for client in truth]).mean(axis=0)
    # Frequent rows have more mass, though not in strict order.
    by_mass, by_prior = np.argsort(np.argsort(mass)), np.argsort(np.argsort(made.prior))
    assert float(np.corrcoef(by_mass, by_prior)[0][1]) > 0.5


def test_a_summary_relates_each_seed_to_its_own_optimum() -> None:
    def measured(coverage: float) -> dict[str, Any]:
        return {"coverage": [coverage], "recall": [0.5], "key_bytes": 10.0 * coverage}

    items: list[tuple[str, int, dict[str, Any]]] = [
        ("layer", 0, {"name": "x", "rows": 5, "d": 2}),
        ("optimum", 0, {"coverage": [0.8], "recall": [1.0]}),
        ("a", 0, measured(0.4)),
        ("b", 0, {"skipped": "no package"}),
        ("layer", 1, {"name": "x", "rows": 5, "d": 2}),
        ("optimum", 1, {"coverage": [0.5], "recall": [1.0]}),
        ("a", 1, measured(0.3)),
        ("b", 1, measured(0.1)),
    ]
    found = summarize(items, "folder")
    assert (found["target"], found["name"], found["rows"]) == ("folder", "x", 5)
    np.testing.assert_allclose(found["indexes"]["a"]["coverage"], [0.35])
    np.testing.assert_allclose(found["indexes"]["a"]["coverage_of_optimum"], [(0.5 + 0.6) / 2])
    np.testing.assert_allclose(found["indexes"]["a"]["coverage_of_optimum_spread"], [0.1])
    np.testing.assert_allclose(found["indexes"]["a"]["key_bytes"], 3.5)
    assert found["indexes"]["b"] == {"skipped": "no package"}


@pytest.mark.parametrize("dimension", [50, 64, 96, 576, 7])
def test_variants_fit_every_dimension(dimension: int) -> None:
    for settings in VARIANTS.values():
        found = fitted(settings, dimension)
        if found.method == "product-codes":
            assert dimension % found.subspaces == 0
        if ",PQ" in found.faiss_factory:
            assert dimension % int(found.faiss_factory.rpartition("PQ")[2]) == 0


@pytest.fixture(scope="module")
def run(texts: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "a <run>"
    retrieval = {"method": "full"}
    train(small_config(texts, rounds=2, output=str(folder), retrieval=retrieval))
    return folder


def test_the_command_writes_json_page_and_table(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "bench"
    names = ["exact", "frequency", "random", "centroids 8", "paper: union K8 L8"]
    arguments = [str(run), "--clients", "1", "--seeds", "2", "--budgets", "0.5"]
    assert main([*arguments, "--budget", "0.7", "--output", str(output), "--indexes", *names]) == 0
    result = json.loads((output / "result.json").read_text())
    assert result["budgets"] == [0.5, 0.7]
    layer = result["layers"][0]
    assert set(layer["indexes"]) == {"optimum", *names}
    assert layer["rows"] == 44
    # The exact index is the optimum, on every seed.
    assert layer["indexes"]["exact"]["coverage"] == layer["indexes"]["optimum"]["coverage"]
    assert all(
        0 < share <= 1 + 1e-9 for name in names for share in layer["indexes"][name]["coverage_of_optimum"]
    )
    table = capsys.readouterr().out
    assert all(name in table for name in names)
    page = (output / "index.html").read_text()
    assert "a &lt;run&gt;" in page
    assert "a <run>" not in page


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["nowhere"],
            "LAYER = nowhere: neither the folder of a run, nor one of: smollm2, glove, synthetic",
        ),
        (["synthetic", "--budgets", "1.5"], "--budgets = 1.5: must be > 0 and ≤ 1"),
        (["synthetic", "--budget", "0"], "--budgets = 0: must be > 0 and ≤ 1"),
        (["synthetic", "--clients", "0"], "--clients = 0: must be at least 1"),
        (["synthetic", "--seeds", "-1"], "--seeds = -1: must be at least 1"),
        (["synthetic", "--indexes", "best"], "--indexes 'best': must be one of: exact; frequency; random;"),
    ],
)
def test_mistakes_are_one_line(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments) == 2
    error = capsys.readouterr().err
    assert error.startswith(f"hashfed: {message}")
    assert error.count("\n") == 1


def test_too_few_clients_are_reported(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(run), "--clients", "999"]) == 2
    assert "held-out clients with at least 8 sentences" in capsys.readouterr().err


def test_a_run_whose_texts_changed_is_refused(
    texts: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    copy = tmp_path / "texts.jsonl"
    copy.write_bytes(texts.read_bytes())
    folder = tmp_path / "run"
    train(small_config(copy, rounds=1, output=str(folder), retrieval={"method": "full"}))
    copy.write_text(copy.read_text().replace("w3", "w2"))
    assert main([str(folder), "--clients", "1", "--output", str(tmp_path / "out")]) == 2
    assert "have changed since this run" in capsys.readouterr().err
