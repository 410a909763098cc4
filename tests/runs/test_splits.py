"""Runs on data of TensorFlow Federated, and run folders from before there were settings for them."""

import json
import re
from pathlib import Path

import pytest

from hashfed import RunFolder, train
from hashfed.cli.main import main
from hashfed.config import deciding_settings, identity, make_config
from hashfed.tasks.next_word.task import NextWordSettings
from small import WORDS, small_config
from tff_files import compress, write_sqlite

NEW = ("clients", "held_out_clients", "sentences_per_client", "word_counts")
CLIENTS = {f"c{number}": [" ".join(WORDS[number % 7 : number % 7 + 6])] * 4 for number in range(12)}
SPLITS = {"train": CLIENTS, "heldout": {"h": ["w1 w2"]}, "test": {"c1": ["w1 w2 w3"], "t": ["w3 w4 w5"]}}


def kept(folder: Path) -> list[bytes]:
    latest = json.loads((folder / "checkpoint" / "latest.json").read_text())["file"]
    return [
        (folder / name).read_bytes() for name in ("metrics.jsonl", "vocabulary.json", f"checkpoint/{latest}")
    ]


def test_a_run_from_before_these_settings_goes_on(texts: Path, tmp_path: Path) -> None:
    often = {"every": 1}
    whole = small_config(texts, output=str(tmp_path / "whole"), rounds=2, evaluation=often)
    train(whole)
    folder = tmp_path / "old"
    train(small_config(texts, output=str(folder), rounds=1, evaluation=often))
    saved = folder / "config.yaml"
    saved.write_text(
        "".join(line for line in saved.open() if line.split(":")[0].strip() not in (*NEW, "task"))
    )
    facts = json.loads((folder / "data.json").read_text())
    removed = [facts["settings"].pop(f"data.{name}", 0) for name in NEW if name != "word_counts"]
    assert removed == [None] * 3
    assert facts["settings"].pop("data.task") == "next-word"
    facts["vocabulary_sha256"] = facts.pop("names_sha256")
    (folder / "data.json").write_text(json.dumps(facts))
    train(small_config(texts, output=str(folder), rounds=2, evaluation=often))
    assert kept(folder) == kept(tmp_path / "whole")


def test_the_bounds_belong_to_a_run_and_the_places_of_its_files_do_not(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path, counts = write_sqlite(tmp_path / "so.sqlite", SPLITS), tmp_path / "so.word_count"
    counts.write_text("".join(f"{word} {100 - rank}\n" for rank, word in enumerate(WORDS[:12])))
    settings = ["--data.vocabulary", "10", "--rounds", "1", "--cohort", "4", "--workers", "1"]
    settings += [
        "--model.embedding",
        "8",
        "--model.attention",
        "8",
        "--model.ffn",
        "8",
        "--model.blocks",
        "1",
    ]
    settings += ["--output", str(tmp_path / "run"), "--data.clients", "6"]
    place = ["--data.source", str(path), "--data.word_counts", str(counts)]
    assert main(["train", *settings, *place]) == 0
    run = RunFolder(tmp_path / "run")
    assert NextWordSettings.of(run.config().data).tokenizer == "spaces"
    assert run.names().words == tuple(WORDS[:10])
    assert (run.read_json("data.json") or {})["train_clients"] == 6

    packed = compress(path)
    counts.rename(tmp_path / "moved.word_count")
    place = ["--data.source", str(packed), "--data.word_counts", str(tmp_path / "moved.word_count")]
    assert main(["train", *settings, *place, "--rounds", "2"]) == 0
    capsys.readouterr()
    for name, value in (("clients", "7"), ("sentences_per_client", "2"), ("held_out_clients", "1")):
        assert main(["train", *settings, *place, f"--data.{name}", value]) == 2
        (*_, line) = capsys.readouterr().err.splitlines()
        assert re.search(f"run of another configuration .data.{name} is ", line), line
    other = tmp_path / "other.word_count"
    other.write_text("".join(f"{word} 1\n" for word in WORDS[1:12]))
    assert main(["train", *settings, *place[:3], str(other)]) == 2
    assert "word_counts is" in capsys.readouterr().err
    assert main(["predict", str(tmp_path / "run"), "w1 W2 w3"]) == 0
    assert "unknown to this run, which reads all such as the same: W2" in capsys.readouterr().err


def test_the_identity_knows_the_bounds_but_not_the_places() -> None:
    one = identity(make_config({}))
    for name, value in (("clients", 7), ("held_out_clients", 7), ("sentences_per_client", 7)):
        assert identity(make_config({"data": {name: value}})) != one
    assert identity(make_config({"data": {"word_counts": "somewhere"}})) == one
    assert "data.word_counts" not in deciding_settings(make_config({}))


def test_such_files_are_described(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = write_sqlite(tmp_path / "so.sqlite", SPLITS)
    command = ["data", "describe", "--data.source", str(path), "--data.vocabulary", "10"]
    assert main([*command, "--data.clients", "3"]) == 0
    found = dict(re.findall(r"^(\w[\w -]*?)\s{2,}(\S+)", capsys.readouterr().out, re.MULTILINE))
    assert (found["train clients"], found["train examples"]) == ("3", "12")
    assert (found["held out clients"], found["held out examples"]) == ("2", "2")
    assert main([*command, "--data.held_out_clients", "1", "--data.sentences_per_client", "3"]) == 0
    found = dict(re.findall(r"^(\w[\w -]*?)\s{2,}(\S+)", capsys.readouterr().out, re.MULTILINE))
    assert (found["train clients"], found["train examples"], found["held out clients"]) == ("12", "36", "1")
