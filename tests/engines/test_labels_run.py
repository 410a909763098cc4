"""Labels with a bag of features through every engine, resumed, compared, asked, and paid for."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

from hashfed import RunFolder, train
from hashfed.cli.main import main
from hashfed.config import Config, make_config
from hashfed.engines.budget import planes_plan, sends_planes
from hashfed.engines.single_thread import single_thread
from hashfed.errors import HashfedError
from hashfed.models import INPUT
from hashfed.runs import load_data
from laws import costs_what_is_sent, same_over_a_network
from small_labels import labels_config, write_data


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_data(tmp_path_factory.mktemp("labels"))


@pytest.mark.parametrize(
    ("method", "loss"), [("query-centroids", "softmax"), ("full", "binary"), ("simhash-union", "binary")]
)
def test_over_a_network_it_is_the_simulator_s_run(method: str, loss: str, folder: Path) -> None:
    config = labels_config(folder, retrieval={"method": method}, data={"loss": loss})
    with single_thread():
        metrics, state = same_over_a_network(config, load_data(config))
    assert f"tables.{INPUT}" in state
    assert metrics["targets"] == 20


@pytest.mark.parametrize("loss", ["softmax", "binary"])
def test_it_learns(loss: str, folder: Path, tmp_path: Path) -> None:
    """Two features of each label tell it: it is found more often than by the floor of the most frequent."""
    config = labels_config(
        folder,
        data={"loss": loss},
        client={"examples": 10, "batch_size": 2, "learning_rate": 0.5, "epochs": 2},
        server={"learning_rate": 0.05},
        cohort=6,
        rounds=20,
        evaluation={"every": 20},
        output=str(tmp_path),
    )
    summary = train(config, measure_memory=False)
    floor = summary["floors"]["popular_precision_at_1"]
    assert summary["evaluation"]["precision_at_1"] > 2 * floor


def test_it_is_resumed_to_the_same_bits(folder: Path, tmp_path: Path) -> None:
    long, short = (labels_config(folder, output=str(tmp_path / name)) for name in ("long", "short"))
    train(long, measure_memory=False)
    train(short.model_copy(update={"rounds": 2}), measure_memory=False)
    train(short, measure_memory=False)
    there, here = (RunFolder(tmp_path / name).parameters().named() for name in ("long", "short"))
    assert all(torch.equal(there[name], value) for name, value in here.items())
    lines = [(tmp_path / name / "metrics.jsonl").read_text().splitlines() for name in ("long", "short")]
    assert json.loads(lines[0][-1]) == json.loads(lines[1][-1])


def test_its_run_is_described_compared_and_asked(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    names = {"label_names": str(folder / "labels.txt"), "feature_names": str(folder / "features.txt")}
    config = labels_config(folder, data=names, rounds=2, output=str(tmp_path / "run"))
    train(config, measure_memory=False)
    Path("run.yaml").write_text(config.to_yaml())
    assert main(["data", "describe", "run.yaml"]) == 0
    out = capsys.readouterr().out
    lines = [line.split() for line in out.splitlines()]
    assert ["labels", "per", "client,", "median"] in [line[:4] for line in lines]
    assert ["features", "24"] in lines
    assert lines[-3] == ["P@1", "P@3", "P@5", "PSP@1"]
    assert [line[0] for line in lines[-2:]] == ["popular", "neighbors"]
    assert main(["predict", "run", "word1:", "word1", "word9", "--top", "2"]) == 0
    told = capsys.readouterr()
    assert told.err == "hashfed: no features of this run, and left out: word1:\n"
    answers = [line.split(maxsplit=1) for line in told.out.splitlines()]
    assert len(answers) == 2
    assert all(name.startswith("label ") and 0 < float(share.rstrip("%")) < 100 for share, name in answers)
    assert main(["predict", "run", "1:1", "--top", "17"]) == 2
    assert capsys.readouterr().err == "hashfed: --top = 17: must be from 1 to 16\n"
    assert main(["predict", "run", "24:1"]) == 2
    assert capsys.readouterr().err == "hashfed: '24:1': must be a feature from 0 to 23 with a finite value\n"
    shutil.copytree("run", "twin")
    assert main(["compare", "run", "twin"]) == 0
    out = capsys.readouterr().out
    assert "P@1" in out
    assert "16 labels" in out
    assert Path("comparison.html").exists()


@pytest.mark.parametrize("delivery", ["on-demand", "broadcast"])
def test_what_it_costs_is_what_is_sent(delivery: str, folder: Path) -> None:
    config = labels_config(folder, selection={"budget": 0.5, "delivery": delivery})
    with single_thread():
        costs_what_is_sent(config, load_data(config))


def test_the_most_labels_that_a_device_affords(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "run.yaml"
    # No encoder, which takes long to make for wide rows.
    config = labels_config(folder, retrieval={"method": "frequency"}, selection={"correction": "tail"})
    path.write_text(config.to_yaml())
    options = ["--budgets", "0.5", "--no-measure", "--json", str(tmp_path / "cost.json")]
    assert main(["cost", str(path), "--max-memory", "3100kB", *options]) == 0
    found = json.loads((tmp_path / "cost.json").read_text())
    assert (found["rows"], found["train_clients"]) == (16, 6)
    assert found["largest"]["found"]["data.labels"]["value"] > 16
    assert found["largest"]["found"]["model.hidden"]["value"] > 8
    assert "data.labels" in capsys.readouterr().out


def test_a_binary_loss_has_no_planes(folder: Path) -> None:
    softmax = labels_config(folder)
    binary = labels_config(folder, data={"loss": "binary"})
    assert (sends_planes(softmax), sends_planes(binary)) == (True, False)
    assert planes_plan(binary).sketcher is None
    with pytest.raises(HashfedError) as caught:
        labels_config(folder, data={"loss": "binary"}, selection={"correction": "control-variate"})
    assert str(caught.value) == (
        "selection.correction = control-variate: is of the partition function of a softmax, and a binary "
        "loss has none (allowed: auto, tail, none)"
    )


@pytest.mark.parametrize(
    ("tree", "problem"),
    [
        (
            {"model": {"name": "bag"}},
            "model.name = bag: reads features, values, starts, which examples of data.task = next-word "
            "do not have (allowed: transformer",
        ),
        (
            {"data": {"task": "labels"}},
            "model.name = transformer: reads inputs, predicted, which examples of data.task = labels do "
            "not have (allowed: bag",
        ),
        (
            {"data": {"task": "labels", "client_ids": "ids", "concentration": 2.0}, "model": {"name": "bag"}},
            "data.concentration = 2.0: has no effect with data.client_ids, which says whose each example is",
        ),
    ],
)
def test_what_does_not_go_together_is_one_line(tree: dict[str, Any], problem: str) -> None:
    with pytest.raises(HashfedError) as caught:
        make_config(tree)
    assert str(caught.value).startswith(problem)
    assert "\n" not in str(caught.value)


def test_no_file_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config: Config = labels_config(tmp_path)
    (tmp_path / "run.yaml").write_text(config.to_yaml())
    assert main(["train", str(tmp_path / "run.yaml")]) == 2
    assert capsys.readouterr().err.splitlines()[-1] == (
        f"hashfed: data.source = {tmp_path / 'train.txt.gz'}: No such file or directory"
    )
