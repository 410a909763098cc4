"""Splits, examples and floors, by hand."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from hashfed.config import make_config
from hashfed.errors import HashfedError, HashfedWarning
from hashfed.tasks.federated_data import Client, FederatedData
from hashfed.tasks.next_item.catalogue import Catalogue
from hashfed.tasks.next_item.histories import Histories
from hashfed.tasks.registry import make_task
from hashfed.tasks.sequences import Sequences

LINES = "ann a\nann b\nann c\nann d\nann e\nbob b\nbob c\nbob a\ncyd d\ncyd e\ndan b\ndan c\ndan d\ndan b\n"


def loaded(path: Path, text: str = LINES, held_out: str = "test", **data: Any) -> FederatedData[Catalogue]:
    path.write_text(text)
    config = make_config({"data": {"task": "next-item", "source": str(path), **data}})
    return make_task(config.data).load(held_out)  # type: ignore[arg-type]


def named(data: FederatedData[Catalogue], rows: np.ndarray) -> str:
    return "".join(data.names.text(row) for row in rows.ravel().tolist())


def shown(data: FederatedData[Catalogue]) -> tuple[dict[str, str], dict[str, str]]:
    """Of training clients inputs and targets, of others their history and target."""

    def both(client: Client, *names: str) -> str:
        return ">".join(named(data, client.examples.columns()[name]) for name in names)

    train = {one.name: both(one, "inputs", "targets") for one in data.train}
    return train, {one.name: both(one, "items", "targets") for one in data.held_out}


def test_leave_one_out(tmp_path: Path) -> None:
    """Users of two items are left out; those with one item to train on are evaluated on alone."""
    data = loaded(tmp_path / "a.txt")
    train = {"ann": "ab>bc", "dan": "b>c"}
    assert shown(data) == (train, {"test/ann": "abcd>e", "test/bob": "bc>a", "test/dan": "bcd>b"})
    assert {data.names.text(row): int(data.label_counts[row]) for row in range(1, 6)} == {
        "a": 0, "b": 1, "c": 2, "d": 0, "e": 0
    }  # fmt: skip
    validated = loaded(tmp_path / "a.txt", held_out="validation")
    assert shown(validated) == (
        train,
        {"validation/ann": "abc>d", "validation/bob": "b>c", "validation/dan": "bc>d"},
    )


def test_a_global_time_split(tmp_path: Path) -> None:
    """Of ten interactions the last two are test, those of times 6 and 7 validation."""
    rows = [
        "ann,a,0",
        "ann,b,1",
        "cyd,a,2",
        "cyd,c,3",
        "cyd,b,4",
        "ann,d,6",
        "cyd,a,7",
        "ann,c,8",
        "bob,a,5",
        "bob,b,9",
    ]
    text = "user,item,time\n" + "\n".join(rows)
    options: dict[str, Any] = {"split": "time", "held_out_share": 0.2}
    train = {"ann": "a>b", "cyd": "ac>cb"}
    assert shown(loaded(tmp_path / "a.csv", text, **options)) == (
        train,
        {"test/ann": "abd>c", "test/bob": "a>b"},
    )
    validated = loaded(tmp_path / "a.csv", text, "validation", **options)
    assert shown(validated) == (train, {"validation/ann": "ab>d", "validation/cyd": "acb>a"})
    assert validated.names.cuts == (6.0, 8.0)
    with pytest.raises(
        HashfedError, match=r"data.split = time: the source has no times \(allowed: leave-one-out\)"
    ):
        loaded(tmp_path / "a.txt", split="time")
    with pytest.raises(HashfedError, match="too few different times"):
        loaded(tmp_path / "a.csv", "user,item,time\na,x,1\na,y,1\n", split="time")


def test_the_last_items_are_read_and_all_are_excluded(tmp_path: Path) -> None:
    data = loaded(tmp_path / "a.txt", length=2)
    train, held_out = shown(data)
    assert train["ann"] == "ab>bc"
    assert held_out["test/ann"] == "abcd>e"
    examples = data.held_out[0].examples.join([one.examples for one in data.held_out[1:]])
    assert isinstance(examples, Histories)
    assert named(data, examples.own("input")) == "".join(
        data.names.text(row) for row in sorted(data.names.rows[x] for x in "bcd")
    )
    bound = examples.bind({"input": None, "output": None}, torch.device("cpu"))
    batch = bound.batch(torch.tensor([2, 0]))
    assert named(data, batch.columns["inputs"].numpy()) == "cdcd"
    assert batch.columns["predicted"].tolist() == [[False, True], [False, True]]
    assert named(data, batch.targets.rows.numpy()) == "be"
    assert batch.targets.excluded is not None
    assert named(data, batch.targets.excluded.rows.numpy()) == "bcdabcd"
    held = np.sort(examples.own("input", "output"))
    some = examples.bind({"input": held, "output": held}, torch.device("cpu")).batch(torch.tensor([0]))
    assert named(data, held[some.columns["inputs"].numpy()]) == "cd"
    assert some.targets.excluded is None


def test_fewer_items_and_users(tmp_path: Path) -> None:
    data = loaded(tmp_path / "a.txt", LINES + "dan a\ndan e\n", items=3)
    assert sorted(data.names.items) == ["a", "b", "c"]
    assert make_task(make_config({"data": {"task": "next-item", "items": 3}}).data).sizes == data.sizes
    assert shown(data)[1] == {"test/ann": "ab>c", "test/bob": "bc>a", "test/dan": "bcb>a"}
    assert [one.name for one in loaded(tmp_path / "a.txt", clients=2).held_out] == ["test/ann", "test/bob"]
    with pytest.raises(HashfedError, match=r"data.items = 9: only 3 items are in training"):
        loaded(tmp_path / "a.txt", items=9)
    with pytest.raises(HashfedError, match="of 1 users none is a training client"):
        loaded(tmp_path / "a.txt", "ann a\nann b\nann c\n")


def test_floors_by_hand(tmp_path: Path) -> None:
    """Training has a, b, c of ann and b, c of dan; then, x y of three users and z z w of one."""
    path = tmp_path / "a.txt"
    data = loaded(path)
    floors = make_task(make_config({"data": {"task": "next-item", "cutoffs": [1, 2]}}).data).measure_floors(
        data
    )
    # ann has had all but e: hit at once by both. bob's a: b and c are had, so it is first.
    # dan's b, had before: as c and d are gone, it is first by popularity.
    assert floors["popular_hr_1"] == 1
    assert floors["targets"] == 3
    assert floors["unreachable_rate"] == pytest.approx(1 / 3)
    lines = (
        "".join(f"{user} x\n{user} y\n{user} z\n{user} w\n" for user in "abc") + "d z\nd z\nd w\nd x\nd v\n"
    )
    data = loaded(path, lines)
    # Popular: x 3, y 3, z 2, w 1. Tests: w after x y z, and v after z z w x.
    # w: not had are v (0) and w, so it is first. v: y (3) is first, so it is second.
    floors = make_task(make_config({"data": {"task": "next-item", "cutoffs": [1, 2]}}).data).measure_floors(
        data
    )
    assert floors["popular_hr_1"] == pytest.approx(3 / 4)
    assert floors["markov_hr_1"] == pytest.approx(3 / 4)
    assert floors["popular_hr_2"] == floors["markov_hr_2"] == 1


def test_successors_come_first_then_popular_items(tmp_path: Path) -> None:
    """After q came rare once, though pop is had by all; and pop is second."""
    lines = "".join(f"{user} pop\n{user} pop\n{user} h{user}\n{user} k{user}\n" for user in "abc")
    lines += "d q\nd rare\nd m\nd n\n" + "e s\ne t\ne q\ne rare\n" + "f s\nf t\nf q\nf pop\n"
    data = loaded(tmp_path / "a.txt", lines)
    task = make_task(make_config({"data": {"task": "next-item", "cutoffs": [1, 2]}}).data)
    chosen = [one for one in data.held_out if one.name in ("test/e", "test/f")]
    floors = task.measure_floors(FederatedData(data.names, data.train, tuple(chosen), data.label_counts))
    assert floors["markov_hr_1"] == pytest.approx(1 / 2)
    assert floors["markov_hr_2"] == 1
    assert floors["popular_hr_1"] == pytest.approx(1 / 2)
    assert floors["popular_hr_2"] == 1


def test_a_node_encodes_as_the_server_does(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    data = loaded(path)
    task = make_task(make_config({"data": {"task": "next-item", "source": str(path)}}).data)
    names = task.read_names(data.names.to_json())
    assert names == data.names
    encoded = dict(task.encode(task.read(str(path), "source", None), names, "here"))
    for client in data.train:
        found = encoded["train", client.name]
        assert found is not None
        assert isinstance(found.examples, Sequences)
        assert all(
            np.array_equal(found.examples.columns()[name], value)
            for name, value in client.examples.columns().items()
        )
    for client in data.held_out:
        found = encoded["test", client.name.removeprefix("test/")]
        assert found is not None
        assert found.name == client.name
        assert np.array_equal(found.examples.columns()["items"], client.examples.columns()["items"])
    assert encoded["train", "cyd"] is None
    path.write_text("ann a\nann new\nann b\nann c\n")
    with pytest.warns(HashfedWarning, match="1 of 4 items are none of this run's"):
        (_, train), *_ = task.encode(task.read(str(path), "source", None, "eve"), names, "here")
    assert train is None


def test_names_that_are_damaged() -> None:
    task = make_task(make_config({"data": {"task": "next-item"}}).data)
    for text, said in {
        "[": "no readable names",
        "[]": "must be a JSON object",
        '{"items": [1], "cuts": null}': "list of names",
        '{"items": ["a", "a"], "cuts": null}': "twice",
        '{"items": ["a"], "cuts": [1]}': "null or two times",
    }.items():
        with pytest.raises(HashfedError, match=said):
            task.read_names(text)


@pytest.mark.parametrize(("cutoffs", "kept"), [(5, "5"), ([10, 20], "10,20"), ("1, 3", "1,3"), ("10", "10")])
def test_cutoffs_as_files_and_commands_have_them(cutoffs: object, kept: str) -> None:
    settings = make_config({"data": {"task": "next-item", "cutoffs": cutoffs}}).data
    assert settings.model_dump()["cutoffs"] == kept
    assert set(make_task(settings).metrics.metrics({})) >= {f"hr_{k}" for k in kept.split(",")}


@pytest.mark.parametrize("cutoffs", ["5,x", "0", "", "5,", "3,3", "99999"])
def test_cutoffs_that_are_none(cutoffs: str) -> None:
    with pytest.raises(HashfedError, match=r"^data.cutoffs = '.*': must (be whole numbers|differ)"):
        make_config({"data": {"task": "next-item", "cutoffs": cutoffs}})
