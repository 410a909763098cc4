import io
import json
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from benchmarks.simulation import run
from benchmarks.simulation.__main__ import main
from benchmarks.simulation.peers.workload import load_workload
from benchmarks.simulation.scenario import Scenario
from benchmarks.simulation.table import print_simulation_table
from hashfed.errors import HashfedError

SMALL = Scenario(words=60, clients=3, sentences=20, workers=1, rounds=2)


def test_the_workload_is_what_hashfed_trains_on(tmp_path: Path) -> None:
    SMALL.write_workload(tmp_path / "workload")
    workload = load_workload(tmp_path / "workload")
    assert workload.inputs.shape == (3, 20, 20)
    assert workload.steps == 3 * 2
    assert workload.rows.shape == (64, 96)
    own = SMALL.data().train[1].examples
    assert sorted(map(bytes, workload.inputs[1])) == sorted(map(bytes, own.columns()["inputs"]))
    assert np.array_equal(workload.inputs[:, :, 1:], workload.targets[:, :, :-1])


def test_hashfed_and_plain_pytorch_do_the_same_and_are_timed() -> None:
    named: list[str] = []
    result = run.bench_simulation(SMALL, [0.5], {"plain_torch": sys.executable}, 1, named.append)
    assert named == [run.PRODUCTS, "hashfed", "hashfed, 0.5", "plain_torch"]
    assert set(result["candidates"]) == set(named[1:])
    plain = result["candidates"]["plain_torch"]
    assert plain["version"] == torch.__version__
    ours = result["candidates"]["hashfed"]["steps_per_second"][0]
    assert plain["hashfed_speedup"] == pytest.approx(ours / plain["steps_per_second"][0])
    text = io.StringIO()
    print_simulation_table(result | {"skipped": {"x": "no package x"}}, text)
    assert "x  left out: no package x" in text.getvalue()


def test_other_work_is_refused() -> None:
    good = {"losses": [1.0, 2.0], "norm_after": {"rows": 3.0, "body": 4.0}}
    run._check("peer", good, good, [1, 1])
    with pytest.raises(HashfedError, match=r"peer: loss = 1\.400000, but hashfed's is 1\.250000"):
        run._check("peer", good | {"losses": [1.2, 2.0]}, good, [3, 1])
    with pytest.raises(HashfedError, match=r"norm of the body after a round = 4\.1"):
        run._check("peer", good | {"norm_after": {"rows": 3.0, "body": 4.1}}, good, [3, 1])


def test_a_failing_candidate_is_named_with_its_last_words() -> None:
    with pytest.raises(HashfedError, match="peer ended with exit code 1: ValueError: no"):
        run._run("peer", [sys.executable, "-c", "raise ValueError('no')"])


def test_the_command_writes_json_and_names_what_is_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(run.PACKAGES, "fedjax_library", "no_such_package")
    sizes = ["--vocabularies", "60", "--clients", "2", "--sentences", "16", "--rounds", "2", "--repeats", "1"]
    file = tmp_path / "result.json"
    sizes += ["--workers", "2"]
    options = ["--budgets", "--peers", "fedjax_library", "--output", str(file)]
    assert main([*sizes, *options]) == 0
    (result,) = json.loads(file.read_text())
    assert list(result["candidates"]) == ["hashfed"]
    assert "fedjax_library  left out" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--budgets", "1"], "--budgets = 1: must be > 0 and < 1"),
        (["--clients", "0"], "--clients = 0: must be at least 1"),
        (["--rounds", "1"], "--rounds = 1: must be at least 2"),
        (["--python", "pfl=python"], "--python = pfl=python: must be PEER=PATH"),
        (["--peers", "x"], "invalid choice: 'x'"),
    ],
)
def test_bad_options(options: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    try:
        code = main(options)
    except SystemExit as error:
        code = int(error.code or 0)
    assert code == 2
    assert message in capsys.readouterr().err
