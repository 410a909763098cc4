"""A run goes on where its texts are the same: from another folder, by another path, by another engine."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from hashfed import HashfedError, train
from hashfed.cli.main import main
from hashfed.config import Config, identity, make_config
from small import small_config


def model(folder: Path) -> bytes:
    """The checkpoint, and what it achieves."""
    latest = json.loads((folder / "checkpoint" / "latest.json").read_text())
    summary = json.loads((folder / "summary.json").read_text())
    state: bytes = (folder / "checkpoint" / latest["file"]).read_bytes()
    return state + json.dumps(summary["evaluation"]).encode()


def spellings(texts: Path, folder: Path) -> dict[str, str]:
    """Paths to the same bytes, as seen from ``folder``."""
    (folder / "home").mkdir()
    (folder / "sub").mkdir()
    shutil.copy(texts, folder / "copy.jsonl")
    shutil.copy(texts, folder / "home" / "copy.jsonl")
    (folder / "link.jsonl").symlink_to(texts)
    return {
        "absolute": str(texts),
        "relative": "copy.jsonl",
        "roundabout": "./sub/../copy.jsonl",
        "link": str(folder / "link.jsonl"),
        "home": "~/copy.jsonl",
    }


@pytest.mark.parametrize("spelling", ["absolute", "relative", "roundabout", "link", "home"])
def test_by_another_path(spelling: str, texts: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    paths = spellings(texts, tmp_path)
    train(small_config(texts, output="whole"))
    train(small_config(Path("copy.jsonl"), output="parts", rounds=2))
    config = small_config(texts).model_dump() | {"output": "parts"}
    config["data"]["source"] = paths[spelling]
    train(make_config(config))
    assert model(Path("parts")) == model(Path("whole"))


def test_from_another_folder_on_the_command_line(
    texts: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("one", "other"):
        (tmp_path / name).mkdir()
        shutil.copy(texts, tmp_path / name / f"{name}.jsonl")
    (tmp_path / "small.yaml").write_text(small_config(texts).to_yaml())
    command = ["train", "../small.yaml", "--output", "../run"]
    monkeypatch.chdir(tmp_path / "one")
    assert main([*command, "--data.source", "one.jsonl", "--rounds", "2"]) == 0
    monkeypatch.chdir(tmp_path / "other")
    assert main([*command, "--data.source", "other.jsonl"]) == 0
    train(small_config(texts, output="../whole"))
    assert model(tmp_path / "run") == model(tmp_path / "whole")


def test_other_differences_are_refused_as_before(texts: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy.jsonl"
    shutil.copy(texts, copy)
    train(small_config(texts, output=str(tmp_path / "run"), rounds=1))
    config = small_config(copy, output=str(tmp_path / "run"), rounds=1, seed=5)
    with pytest.raises(HashfedError, match=r"another configuration \(seed is 0 there, 5 here\)"):
        train(config)
    with copy.open("a") as file:
        file.write('{"client": "new", "texts": ["w9 w9 w9 w9 w9"]}\n')
    with pytest.raises(HashfedError, match=r"\(data.source is .*small.jsonl' there, .*copy.jsonl' here\)"):
        train(small_config(copy, output=str(tmp_path / "run"), rounds=1))


def test_what_nodes_remember_does_not_depend_on_the_servers_paths(texts: Path) -> None:
    one = small_config(texts)
    other = small_config(Path("elsewhere.jsonl"), output="x", flower={"slices": "y"})
    assert identity(one) == identity(other)
    assert identity(one) != identity(small_config(texts, seed=1))


@pytest.mark.parametrize("server_first", [False, True])
@pytest.mark.parametrize(
    "groups",
    [
        {"retrieval": {"method": "query-centroids", "refresh": 2}},
        {"retrieval": {"method": "simhash-collisions"}, "selection": {"delivery": "pre-generated"}},
        {"retrieval": {"method": "full"}, "server": {"row_average": "fedsubavg"}},
    ],
    ids=["on-demand", "pre-generated", "full"],
)
def test_begun_by_train_and_resumed_by_serve_and_the_other_way_round(
    groups: dict[str, object],
    server_first: bool,
    texts: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """``serve`` makes paths absolute, for its ServerApp runs in a folder of Flower's."""
    pytest.importorskip("flwr")
    from hashfed.cli.serve import absolute
    from hashfed.engines.flower.client_app import app
    from hashfed.engines.flower.rounds import FlowerRounds
    from loopback import LoopbackGrid, partitions

    flower = {"clients": 9, "deadline": 600, "patience": 600}
    shutil.copy(texts, tmp_path / "copy.jsonl")
    (tmp_path / "elsewhere").mkdir()

    def by_train(config: Config) -> None:
        monkeypatch.chdir(tmp_path)
        train(config)

    def by_serve(config: Config) -> None:
        monkeypatch.chdir(tmp_path)
        config = absolute(config)
        monkeypatch.chdir(tmp_path / "elsewhere")
        grid = LoopbackGrid(app, partitions(texts))
        train(config, make_engine=lambda config, data, stop: FlowerRounds(grid, config, data))

    def settings(**more: Any) -> Config:
        return small_config(Path("copy.jsonl"), flower=flower, **groups, **more)

    by_train(settings(output="whole"))
    steps: list[Callable[[Config], None]] = [by_train, by_serve]
    first, second = reversed(steps) if server_first else steps
    first(settings(output="parts", rounds=2))
    second(settings(output="parts"))
    assert model(tmp_path / "parts") == model(tmp_path / "whole")
