"""A task that no file of hashfed knows is chosen by name."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from hashfed import RunFolder, train
from hashfed.cli.main import main
from hashfed.config import identity, leaves, load_config, make_config, size_setting, size_settings
from hashfed.errors import HashfedError
from hashfed.models import MODELS, OUTPUT
from hashfed.report import print_table
from hashfed.report.page import page_content, read_entries
from hashfed.tasks.registry import TASKS, make_task
from small import small_config
from toy_model import ToySettings as ToyModelSettings
from toy_task import ToySettings

TOY = {"data": {"task": "toy-labels", "labels": 12}, "model": {"name": "toy"}}


@pytest.fixture(autouse=True)
def registered() -> Iterator[None]:
    TASKS["toy-labels"], MODELS["toy"] = ToySettings, ToyModelSettings
    yield
    del TASKS["toy-labels"], MODELS["toy"]


def test_a_configuration_chooses_it_by_name(tmp_path: Path) -> None:
    config = make_config(TOY)
    assert config.data == ToySettings(labels=12)
    assert make_task(config.data).sizes[OUTPUT] == 12
    assert config.folder() == Path("runs/made-up-query-centroids-10%-seed0")
    assert size_setting(config) == "data.labels"
    assert (
        size_settings()
        == "data.vocabulary, data.labels, data.items, model.embedding, model.hidden, model.size"
    )
    (tmp_path / "toy.yaml").write_text(config.to_yaml())
    assert load_config(tmp_path / "toy.yaml") == config
    chosen = {"data.task": "toy-labels", "data.labels": "12", "model.name": "toy"}
    assert load_config(None, chosen) == config
    there = load_config(tmp_path / "toy.yaml", {"data.task": "next-word", "model.name": "transformer"})
    assert there == make_config({"data": {"source": "made-up"}}), "fields of the other task are forgotten"
    assert identity(there) != identity(config) != identity(make_config(TOY | {"seed": 1}))
    assert {name for name, _ in leaves(config) if name.startswith("data.")} == {
        "data.task",
        "data.source",
        "data.labels",
    }


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        (
            {"task": "label"},
            "data.task = 'label': input should be 'next-word', 'labels', 'next-item' or 'toy-labels'",
        ),
        (
            {"task": "toy-labels", "vocabulary": 9},
            "data.vocabulary = 9: not a setting of data.task = toy-labels (allowed: source, labels)",
        ),
        ({"labels": 9}, "data.labels = 9: not a setting of data.task = next-word (allowed: source, "),
        ({"task": "toy-labels", "labels": 1}, "data.labels = 1: input should be greater than or equal to 2"),
    ],
)
def test_a_mistake_is_one_line(data: dict[str, object], problem: str) -> None:
    with pytest.raises(HashfedError) as caught:
        make_config({"data": data})
    assert str(caught.value).startswith(problem)
    assert "\n" not in str(caught.value)


def test_the_command_line_knows_it(capsys: pytest.CaptureFixture[str]) -> None:
    options = ["--data.task", "toy-labels", "--data.labels", "12", "--model.name", "toy"]
    assert main(["data", "describe", *options]) == 0
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert ["train", "predictions", "30"] in lines
    assert ["spoons", "2.5"] in lines
    assert lines[-3:] == [
        ["floors", "on", "10", "held-out", "baskets"],
        ["Precision"],
        ["frequent", "25.00%"],
    ]
    with pytest.raises(SystemExit):
        main(["train", "--help"])
    text = " ".join(capsys.readouterr().out.split()).replace("- ", "-")
    assert "toy-labels, labels of made-up sets of features [default next-word]" in text
    assert "--data.labels LABELS n, number of labels, at least those of the files" in text
    assert "(labels) Number of labels. [default 30; ≥ 2] (toy-labels)" in text


def test_its_runs_are_shown_in_its_own_terms(
    texts: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    facts = {"rows": 12, "train_clients": 6, "held_out_clients": 2, "held_out_examples": 10}
    floors: dict[str, float] = {"frequent_precision": 0.25, "targets": 10}
    device: dict[str, object] = dict.fromkeys(
        ("rows", "parameters", "flops", "bytes_down", "bytes_up"), 3.0
    ) | {"bytes": {}}
    device |= {"memory_baseline": 1, "memory_peak": 2}
    measured = {"evaluation": {"precision": 0.5}}
    summary = {"rounds": 1, "device": device, "seconds_per_round": 1.0} | measured
    (tmp_path / "config.yaml").write_text(make_config(TOY | {"rounds": 1}).to_yaml())
    (tmp_path / "data.json").write_text(json.dumps(facts | {"floors": floors}))
    (tmp_path / "metrics.jsonl").write_text(json.dumps({"round": 1, "bytes": {}} | measured))
    (tmp_path / "summary.json").write_text(json.dumps(summary))
    run = RunFolder(tmp_path)
    with (tmp_path / "table.txt").open("w+") as file:
        print_table([run], file)
        file.seek(0)
        head, cells, floor = (line.split("  ") for line in file.read().splitlines())
    assert [cell.strip() for cell in head if cell][:3] == ["run", "rows", "precision"]
    assert [cell.strip() for cell in cells if cell][2] == "50.00%"
    assert floor[0] == "(frequent floor, made-up, 12 labels)"
    (section,) = page_content(read_entries([run]))["sections"]
    assert section["heads"] == ["Precision"]
    assert (section["about"]["size"], section["about"]["note"]) == ("12 labels", "Among 10 baskets.")
    assert section["sample"] == "The curves are measured on all 10 held-out baskets, as the results table."
    words = small_config(texts, rounds=1, output=str(tmp_path / "words"))
    train(words, measure_memory=False)
    both = [RunFolder(tmp_path / "words"), run]
    assert len(page_content(read_entries(both))["sections"]) == 2
    assert main(["keyboard", str(tmp_path)]) == 2
    assert capsys.readouterr().err == f"hashfed: {tmp_path}: data.task = toy-labels: must be next-word\n"
