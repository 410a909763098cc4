"""A task that no file of hashfed knows, registered here: sets of labels, chosen by name.

CONTRIBUTING.md shows its settings as the example of a new task.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
import pytest
import torch
from pydantic import Field

from hashfed import RunFolder
from hashfed.cli.main import main
from hashfed.config import identity, leaves, load_config, make_config, size_setting, size_settings
from hashfed.data import ClientTexts
from hashfed.errors import HashfedError
from hashfed.models.batch import Targets
from hashfed.models.losses import LOSSES, Loss
from hashfed.randomness import stream
from hashfed.report import print_table
from hashfed.report.page import page_content, read_entries
from hashfed.tasks.examples import Examples
from hashfed.tasks.federated_data import Client, FederatedData
from hashfed.tasks.label_sets import LabelSets
from hashfed.tasks.metrics import Metrics, Sums
from hashfed.tasks.presentation import Measure, Presentation
from hashfed.tasks.registry import TASKS, make_task
from hashfed.tasks.settings import TaskSettings

# The task


class ToySettings(TaskSettings):
    """Labels of made-up sets of features."""

    task: Literal["toy-labels"] = "toy-labels"
    source: str = "made-up"
    labels: int = Field(30, ge=2)
    """Number of labels."""

    size_setting: ClassVar[str] = "labels"
    named: ClassVar[tuple[str, ...]] = ("made-up",)

    def build(self) -> "ToyLabels":
        return ToyLabels(self)


PRECISION = Measure("precision", "Precision", "Precision", "%", "higher", "precision")
PRESENTATION = Presentation(
    "baskets", "labels", "baskets", (PRECISION,), (PRECISION,), ("frequent",), note="Among {targets} baskets."
)


class ToyMetrics:
    def sums(self, logits: torch.Tensor, targets: Targets) -> Sums:
        best = logits.argmax(1)[targets.owners] == targets.rows
        return {"baskets": len(targets), "found": int(best.sum())}

    def metrics(self, sums: Sums) -> dict[str, float]:
        return {"precision": sums.get("found", 0) / max(1, sums.get("baskets", 0))}

    def check(self, sums: Sums, most: int) -> Sums:
        if not 0 <= sums["found"] <= sums["baskets"] <= most:
            raise HashfedError(f"found = {sums['found']}: must be from 0 to {most}")
        return sums


class Names(tuple[str, ...]):
    def to_json(self) -> str:
        return json.dumps(self)


@dataclass(frozen=True)
class ToyLabels:
    settings: ToySettings
    metrics: ClassVar[Metrics] = ToyMetrics()
    presentation: ClassVar[Presentation] = PRESENTATION
    loss: ClassVar[Loss] = staticmethod(LOSSES["softmax"])

    def load(self, held_out: Literal["validation", "test"]) -> FederatedData[Names]:
        clients = [Client(f"c{one}", self._drawn(one)) for one in range(8)]
        names = Names(map(str, range(self.size)))
        return FederatedData(names, tuple(clients[:6]), tuple(clients[6:]), np.ones(self.size, np.int64))

    def _drawn(self, client: int) -> LabelSets:
        labels = stream(0, "toy", client=str(client)).integers(0, self.size, 10).astype(np.int32)
        twice, counts = np.sort(labels.reshape(5, 2), axis=1), np.full(5, 2)
        twice[:, 1] += twice[:, 0] == twice[:, 1]
        return LabelSets(labels, np.ones(10, np.float32), counts, twice.ravel() % self.size, counts)

    def read_names(self, text: str) -> Names:
        return Names(json.loads(text))

    def read(
        self, source: str, setting: str, held_out: Literal["validation", "test"] | None
    ) -> list[ClientTexts]:
        raise HashfedError(f"{setting} = {source}: this task has no data of nodes")

    def encode(self, client: ClientTexts, names: Names) -> Client | None:
        return None

    def measure_floors(self, data: FederatedData[Any]) -> dict[str, Any]:
        return {"frequent_precision": 0.25, "targets": sum(len(one.examples) for one in data.held_out)}

    @property
    def size(self) -> int:
        return self.settings.labels

    def within(self, examples: Examples, size: int) -> Examples:
        return examples

    def from_columns(self, columns: Mapping[str, np.ndarray]) -> Examples:
        return LabelSets(**columns)

    def imagine(self, examples: int, length: int, predictions: int) -> Examples:
        ids, counts = np.zeros(examples * length, np.int32), np.full(examples, length)
        values = np.ones(len(ids), np.float32)
        return LabelSets(ids, values, counts, np.ones(examples, np.int32), np.ones(examples, np.int64))

    def most_predictions(self, examples: int | None) -> int:
        return 5 if examples is None else examples

    def most_own(self, examples: int) -> int:
        return min(2 * examples, self.size)


# Its tests

TOY = {"data": {"task": "toy-labels", "labels": 12}}


@pytest.fixture(autouse=True)
def registered() -> Iterator[None]:
    TASKS["toy-labels"] = ToySettings
    yield
    del TASKS["toy-labels"]


def test_a_configuration_chooses_it_by_name(tmp_path: Path) -> None:
    config = make_config(TOY)
    assert config.data == ToySettings(labels=12)
    assert make_task(config.data).size == 12
    assert config.folder() == Path("runs/made-up-query-centroids-10%-seed0")
    assert size_setting(config) == "data.labels"
    assert size_settings() == "data.vocabulary, data.labels, model.embedding"
    (tmp_path / "toy.yaml").write_text(config.to_yaml())
    assert load_config(tmp_path / "toy.yaml") == config
    assert load_config(None, {"data.task": "toy-labels", "data.labels": "12"}) == config
    there = load_config(tmp_path / "toy.yaml", {"data.task": "next-word"})
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
        ({"task": "labels"}, "data.task = 'labels': input should be 'next-word' or 'toy-labels'"),
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
    assert main(["data", "describe", "--data.task", "toy-labels", "--data.labels", "12"]) == 0
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert ["train", "predictions", "30"] in lines
    assert lines[-3:] == [
        ["floors", "on", "10", "held-out", "baskets"],
        ["Precision"],
        ["frequent", "25.00%"],
    ]
    with pytest.raises(SystemExit):
        main(["train", "--help"])
    text = " ".join(capsys.readouterr().out.split())
    assert "toy-labels, labels of made-up sets of features [default next-word]" in text
    assert "--data.labels LABELS Number of labels. [default 30; ≥ 2] (toy-labels)" in text


def test_its_runs_are_shown_in_its_own_terms(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
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
    assert main(["predict", str(tmp_path), "a"]) == 2
    assert capsys.readouterr().err == f"hashfed: {tmp_path}: data.task = toy-labels: must be next-word\n"
