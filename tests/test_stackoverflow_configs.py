"""The published settings on Stack Overflow: each file trains on texts in the format that it is for."""

import importlib.util
import json
from collections.abc import Callable
from pathlib import Path

import pytest

import format_files as files
from hashfed.cli.main import main
from hashfed.config import load_config
from small import WORDS, write_texts
from split_texts import Splits
from tff_files import write_sqlite

CONFIGS = Path(__file__).parents[1] / "configs" / "stackoverflow"


def write_tff(folder: Path, splits: Splits) -> Path:
    names = {"train": "train", "validation": "heldout", "test": "test"}
    return write_sqlite(
        folder / "stackoverflow.sqlite", {names[split]: clients for split, clients in splits.items()}
    )


WRITERS: dict[str, tuple[str, Callable[[Path, Splits], Path]]] = {
    "paper": ("sqlite3", write_tff),
    "pfl": ("h5py", lambda folder, splits: files.write_pfl(folder / "stackoverflow.hdf5", splits, WORDS)),
    "fedjax": ("msgpack", lambda folder, splits: files.write_fedjax(folder / "stackoverflow", splits)),
}
SMALL = (
    "--data.vocabulary 30 --model.embedding 8 --model.attention 8 --model.heads 2 --model.ffn 16 "
    "--model.blocks 1 --rounds 2 --cohort 4 --workers 1"
)


@pytest.fixture(scope="module")
def splits(tmp_path_factory: pytest.TempPathFactory) -> Splits:
    lines = write_texts(tmp_path_factory.mktemp("texts") / "a.jsonl").read_text().splitlines()
    clients = [json.loads(line) for line in lines]
    sides = {"train": clients[:16], "validation": clients[16:20], "test": clients[20:]}
    return {name: {one["client"]: one["texts"] for one in side} for name, side in sides.items()}


@pytest.mark.parametrize("name", WRITERS)
def test_each_trains_on_the_format_that_it_is_for(
    name: str, splits: Splits, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package, write = WRITERS[name]
    if importlib.util.find_spec(package) is None:
        pytest.skip(f"needs the package {package}")
    monkeypatch.chdir(tmp_path)
    write(tmp_path, splits)  # under the name that stands in the file
    assert main(["train", str(CONFIGS / f"{name}.yaml"), *SMALL.split(), "--output", "run"]) == 0
    metrics = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    assert [line["round"] for line in metrics] == [1, 2]
    found = json.loads((tmp_path / "run" / "summary.json").read_text())["evaluation"]
    assert 0 <= found["accuracy_with_oov"] <= found["accuracy"] <= 1


def test_what_is_published_stands_in_them() -> None:
    paper, pfl, fedjax = (load_config(CONFIGS / f"{name}.yaml") for name in WRITERS)
    assert sorted(path.stem for path in CONFIGS.iterdir()) == sorted(WRITERS)
    assert [(config.cohort, config.rounds) for config in (paper, pfl, fedjax)] == [
        (50, 1500),
        (400, 2000),
        (50, 1500),
    ]
    assert (pfl.server.learning_rate, pfl.server.epsilon, pfl.client.learning_rate) == (0.1, 0.01, 0.3)
    assert (fedjax.server.learning_rate, fedjax.server.epsilon, fedjax.client.learning_rate) == (
        0.02,
        1e-8,
        0.5,
    )
