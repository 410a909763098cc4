"""``hashfed bench device`` as its user runs it."""

import json
from itertools import count
from pathlib import Path
from types import SimpleNamespace

import pytest

from hashfed.bench import cells, pfl_research
from hashfed.cli import bench
from hashfed.cli.main import main
from small import small_config


@pytest.fixture
def steady(monkeypatch: pytest.MonkeyPatch) -> None:
    """A clock that goes on whenever it is looked at, one repetition, and no peer."""
    times = count()
    monkeypatch.setattr(bench, "time", SimpleNamespace(perf_counter=lambda: 1e-3 * next(times)))
    monkeypatch.setattr(cells, "MOST_ROUNDS", 1)
    monkeypatch.setattr(pfl_research, "DISTRIBUTION", "no-such-distribution")


@pytest.mark.usefixtures("steady")
def test_random_clients_and_those_of_a_data_set(
    texts: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "small.yaml").write_text(small_config(texts).to_yaml())
    file = tmp_path / "device.json"
    sizes = ["--vocabularies", "30", "--cohorts", "2", "--budgets", "1", "own+1%"]
    command = [
        "bench",
        "device",
        str(tmp_path / "small.yaml"),
        *sizes,
        "--device",
        "cpu",
        "--json",
        str(file),
    ]
    assert main(command) == 0
    result = json.loads(file.read_text())
    found = {
        (cell["what"], cell["clients"], cell["rows"], cell["budget"], cell["cohort"])
        for cell in result["cells"]
    }
    whose = (("random", 34), (texts.name, 44))
    expected = {("plain PyTorch", *clients, "1", 1) for clients in whose}
    expected |= {
        (what, *clients, budget, cohort)
        for what in ("cohort engine", "bare products")
        for clients in whose
        for budget in ("1", "own+1%")
        for cohort in (2,)
    }
    assert found == expected
    assert len(result["cells"]) == len(expected)
    out = capsys.readouterr().out
    assert out.splitlines()[0].startswith("cpu: ")
    assert "left out" not in out
    assert "pfl-research: not installed\n" in out
    assert out.endswith(f"result: {file}\n")


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["--device", "tpu"], "--device = tpu: must be cpu or cuda"),
        (["--device", "cuda"], "device = cuda: torch finds no CUDA device here (allowed: cpu)"),
        (["--cohorts", "16", "0"], "--cohorts = 0: must be at least 1"),
        (["--vocabularies", "0"], "--vocabularies = 0: must be at least 1"),
        (["--budgets", "2"], "--budgets = 2: must be > 0 and ≤ 1"),
        (["--json", "/"], "/: cannot be written (Is a directory)"),
        (["--engine", "clients"], "--engine: no such option"),
        (["--client.epochs", "0"], "client.epochs = 0: "),
        (
            ["--selection.delivery", "pre-generated", "--retrieval.method", "simhash-union"],
            "engine = cohort: selection.delivery = pre-generated ",
        ),
    ],
    ids=lambda value: value[0].strip("-") if isinstance(value, list) else "",
)
def test_a_mistake_is_one_line(
    words: list[str], line: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    monkeypatch.setattr(bench, "bench_device", None)
    try:
        code: object = main(["bench", "device", *words])
    except SystemExit as stop:
        code = stop.code
    assert code == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.count("\n") == 1
    assert line in err
    assert err.startswith("hashfed: ")


def test_a_gpu_is_used_where_there_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    from hashfed.cli.main import build_parser

    parsed = build_parser().parse_args(["bench", "device", "--quick"])
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    plan = bench.read_plan(parsed)
    assert plan.device == "cuda"
    assert (plan.seconds, plan.quick) == (bench.QUICK_SECONDS, True)
    assert {cohort for _, cohort, _ in plan.cells} == {16, 64, 256}
    assert len(plan.cells) == 27
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    assert bench.read_plan(parsed).device == "cpu"


def test_help_of_the_group_and_of_the_command(capsys: pytest.CaptureFixture[str]) -> None:
    for words in (["bench", "--help"], ["bench", "device", "--help"]):
        with pytest.raises(SystemExit) as stop:
            main(words)
        assert stop.value.code == 0
    out = capsys.readouterr().out
    assert "hashfed bench device --quick" in " ".join(out.split())
    assert "--cohort COHORT" not in out
