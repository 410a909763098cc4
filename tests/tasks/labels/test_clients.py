"""From files to clients."""

import json
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest

from hashfed.errors import HashfedError, HashfedWarning
from hashfed.models import INPUT, OUTPUT
from hashfed.tasks.federated_data import FederatedData
from hashfed.tasks.labels.clients import for_validation
from hashfed.tasks.labels.names import LabelNames
from hashfed.tasks.labels.propensities import inverse_propensities
from hashfed.tasks.labels.settings import LabelFileSettings
from hashfed.tasks.labels.task import Labels, LabelsSettings
from small_labels import FEATURES, LABELS, write_data, write_examples


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_data(tmp_path)


def task(folder: Path, **settings: Any) -> Labels:
    tree = {"source": "train.txt.gz", "test": "test.txt", "client_ids": "ids.txt"} | settings
    paths = {name: str(folder / tree[name]) for name in LabelsSettings.places if tree.get(name) is not None}
    return LabelsSettings(**(tree | paths)).build()


def load(
    folder: Path, held_out: Literal["validation", "test"] = "test", **settings: Any
) -> FederatedData[LabelNames]:
    return task(folder, **settings).load(held_out)


def test_line_i_names_the_client_of_example_i(folder: Path) -> None:
    data = load(folder)
    assert [client.name for client in data.train] == [f"c{client}" for client in range(6)]
    assert [len(client.examples) for client in data.train] == [10] * 6
    (held_out,) = data.held_out
    assert (held_out.name, len(held_out.examples)) == ("test/all", 20)
    assert data.sizes == {OUTPUT: LABELS, INPUT: FEATURES}
    everything = np.concatenate([client.examples.columns()["labels"] for client in data.train])
    assert data.label_counts.tolist() == np.bincount(everything, minlength=LABELS).tolist()
    assert data.label_counts.tolist() == list(data.names.label_counts)


def test_who_is_held_out_has_inverse_propensities_as_gains(folder: Path) -> None:
    data = load(folder)
    columns = data.held_out[0].examples.columns()
    gains = inverse_propensities(data.label_counts, 60)
    assert columns["gains"] == pytest.approx(gains[columns["labels"]].astype(np.float32))
    assert "gains" not in data.train[0].examples.columns()


def test_a_tenth_of_the_training_examples_is_for_validation() -> None:
    chosen = for_validation(16 * 500)
    assert 0.05 < chosen.mean() < 0.15
    blocks = chosen.reshape(500, 16)
    assert (blocks.all(1) == blocks.any(1)).all(), "neighbours are on one side"
    assert np.array_equal(for_validation(1000), chosen[:1000]), "the rule knows no more than the line"


def test_validation_examples_are_not_trained_on(folder: Path) -> None:
    write_examples(folder / "long.txt", 600, 3)
    (folder / "long_ids.txt").write_text("".join(f"c{place % 5}\n" for place in range(600)))
    settings: dict[str, Any] = {"source": "long.txt", "client_ids": "long_ids.txt"}
    data = load(folder, "validation", **settings, test=None)
    count = int(for_validation(600).sum())
    assert (data.held_out[0].name, len(data.held_out[0].examples)) == ("validation/all", count)
    assert sum(len(client.examples) for client in data.train) == 600 - count
    assert data.names.documents == 600 - count
    whole = load(folder, "test", **settings)
    assert sum(len(client.examples) for client in whole.train) == 600


def test_without_ids_examples_are_divided(folder: Path) -> None:
    data = load(folder, client_ids=None, partition_clients=12, concentration=0.2)
    assert [client.name for client in data.train] == [f"{client:02d}" for client in range(12)]
    assert [len(client.examples) for client in data.train] == [5] * 12
    again = load(folder, client_ids=None, partition_clients=12, concentration=0.2)
    other = load(folder, client_ids=None, partition_clients=12, concentration=0.2, partition_seed=1)
    columns = [[client.examples.columns() for client in one.train] for one in (data, again, other)]
    same = [
        all(np.array_equal(a["labels"], b["labels"]) for a, b in zip(columns[0], one, strict=True))
        for one in columns[1:]
    ]
    assert same == [True, False]


def test_what_cannot_be_trained_on_is_left_out_and_told(folder: Path) -> None:
    (folder / "train.txt").write_text("5 3 2\n0 1:1\n 1:1\n1\n\n1 2:1\n")
    (folder / "some.txt").write_text("3 3 2\n 1:1\n0\n1 2:1\n")
    (folder / "ids").write_text("a\nb\nc\nd\na\n")
    with pytest.warns(HashfedWarning) as told:
        data = load(folder, source="train.txt", client_ids="ids", test="some.txt")
    assert [str(one.message).partition(": ")[2] for one in told] == [
        "of 5 training examples 2 without labels and 2 without features are left out"
    ]
    assert [(client.name, len(client.examples)) for client in data.train] == [("a", 2)]
    assert len(data.held_out[0].examples) == 3, "who is evaluated is evaluated on all"


def test_values_follow_the_training_examples(folder: Path) -> None:
    raw, weighted = load(folder), load(folder, values="tf-idf")
    before, after = (data.held_out[0].examples.columns() for data in (raw, weighted))
    assert np.array_equal(before["features"], after["features"])
    starts = np.cumsum(after["feature_counts"]) - after["feature_counts"]
    assert np.add.reduceat(after["values"] ** 2, starts) == pytest.approx(np.ones(20), rel=1e-5)


def test_names_come_back(folder: Path) -> None:
    names = load(folder, label_names="labels.txt", feature_names="features.txt").names
    found = task(folder).read_names(names.to_json())
    assert found == names
    assert (found.text(3), load(folder).names.text(3)) == ("label 3", "3")
    more = load(folder, labels=20).names
    assert more.sizes[OUTPUT] == 20


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"label_counts": []}, "label_counts: "),
        ({"documents": -1}, "documents: "),
        ({"documents": "9"}, "documents: "),
        ({"words": 1}, "words: "),
        ({"labels": ["a"] * 99}, "labels: 99 names: must be at most 16"),
    ],
)
def test_damaged_names_are_one_line(change: dict[str, Any], problem: str, folder: Path) -> None:
    text = json.dumps(json.loads(load(folder).names.to_json()) | change)
    with pytest.raises(HashfedError) as caught:
        task(folder).read_names(text)
    assert str(caught.value).startswith(problem)
    assert "\n" not in str(caught.value)


def test_a_node_has_the_same_clients(folder: Path) -> None:
    here = task(folder, values="tf-idf")
    data = here.load("test")
    read = here.read(str(folder / "train.txt.gz"), "source", "test")
    found = [client for _, client in here.encode(read, data.names, "here") if client is not None]
    for one, other in zip(found, [*data.train, *data.held_out], strict=True):
        assert one.name == other.name
        columns, due = one.examples.columns(), other.examples.columns()
        assert all(np.array_equal(columns[name], due[name]) for name in due)
    (alone,) = here.read(str(folder / "test.txt"), "texts", None, "ann")
    assert (alone.key, len(alone.examples)) == (("train", "ann"), 20)


def test_ids_that_the_run_does_not_know_are_refused(folder: Path) -> None:
    here = task(folder)
    names = here.load("test").names
    (folder / "mine.txt").write_text("1 99 99\n0 50:1\n")
    with pytest.raises(
        HashfedError, match=r"^node-config: features: 50: must be from 0 to 23, as in the run's"
    ):
        here.encode(here.read(str(folder / "mine.txt"), "texts", None, "ann"), names, "node-config")


@pytest.mark.parametrize(
    ("settings", "problem"),
    [
        ({"test": None}, "data.test = None: must be the file of the test examples"),
        ({"labels": 15}, "data.labels = 15: must be at least 16, as in "),
        ({"client_ids": "labels.txt"}, "data.client_ids = {folder}/labels.txt: 16 lines: must have 60"),
        (
            {"label_names": "ids.txt"},
            "data.label_names = {folder}/ids.txt, line 17: 'c4': must have 16 lines",
        ),
        (
            {"client_ids": None, "partition_clients": 61},
            "data.partition_clients = 61: must be at most the 60 ",
        ),
        ({"test": "wide.txt"}, "data.test = {folder}/wide.txt, line 1: labels = 99: must be at most 16"),
        ({"source": "bare.txt", "client_ids": None}, "data.source = {folder}/bare.txt: no example has both "),
        (
            {"values": "tf-idf", "test": "half.txt"},
            "data.test = {folder}/half.txt, line 2: value of feature 1 = 0.5",
        ),
    ],
)
@pytest.mark.filterwarnings("ignore::hashfed.errors.HashfedWarning")
def test_files_that_do_not_fit_are_one_line(settings: dict[str, Any], problem: str, folder: Path) -> None:
    (folder / "wide.txt").write_text("1 24 99\n98 1:1\n")
    (folder / "half.txt").write_text("1 24 16\n0 1:.5\n")
    (folder / "bare.txt").write_text("1 24 16\n 1:1\n")
    with pytest.raises(HashfedError) as caught:
        load(folder, **settings)
    assert str(caught.value).startswith(problem.format(folder=folder))
    assert "\n" not in str(caught.value)


def test_too_few_examples_for_validation(folder: Path) -> None:
    write_examples(folder / "short.txt", 16, 3)
    with pytest.raises(HashfedError, match="16 examples: too few for both training and validation"):
        load(folder, "validation", source="short.txt", client_ids=None, partition_clients=2)


def test_imagined_examples() -> None:
    found = LabelsSettings().build().imagine(3, 4, 3)
    assert (found.shape, found.weight) == ((3, 4), 3)
    assert found.own(OUTPUT).tolist() == [1]
    assert found.own(INPUT).tolist() == [0]


def test_with_fewer_labels(folder: Path) -> None:
    here, examples = task(folder), load(folder).train[0].examples
    found = here.within(examples, 5)
    assert found.own(OUTPUT).max() == 4
    assert len(found) == len(examples)
    assert (here.sizes, here.settings.resized(7).build().sizes) == ({}, {OUTPUT: 7})
    assert isinstance(here.settings, LabelFileSettings)
