"""Files of a run's folder that are whole, but not what a run left there."""

import hashlib
import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from benchmarks.index.__main__ import main as bench
from hashfed.cli.main import main
from hashfed.runs.folder import RunFolder
from small import small_config

Damage = Callable[[Path], object]


def replaced(name: str, text: str) -> Damage:
    return lambda run: (run / name).write_text(text)


def changed(name: str, old: str, new: str) -> Damage:
    def change(run: Path) -> None:
        text = (run / name).read_text()
        assert old in text
        (run / name).write_text(text.replace(old, new))

    return change


def edited(name: str, edit: Callable[[Any], Any]) -> Damage:
    """``edit`` changes a JSON value in place, or returns another."""

    def change(run: Path) -> None:
        value = json.loads((run / name).read_text())
        found = edit(value)
        (run / name).write_text(json.dumps(value if found is None else found))

    return change


def lines(name: str, edit: Callable[[list[str]], list[str]]) -> Damage:
    def change(run: Path) -> None:
        found = edit((run / name).read_text().splitlines())
        (run / name).write_text("".join(f"{line}\n" for line in found))

    return change


def tensors(edit: Callable[[dict[str, torch.Tensor]], object]) -> Damage:
    """With the right checksum."""

    def change(run: Path) -> None:
        latest = json.loads((run / "checkpoint" / "latest.json").read_text())
        path = run / "checkpoint" / latest["file"]
        found = load_file(path)
        edit(found)
        save_file(found, path)
        latest["sha256"] = hashlib.sha256(path.read_bytes()).hexdigest()
        (run / "checkpoint" / "latest.json").write_text(json.dumps(latest))

    return change


def folder_instead(name: str) -> Damage:
    def change(run: Path) -> None:
        (run / name).unlink()
        (run / name).mkdir()

    return change


LATEST = "checkpoint/latest.json"
ROWS = "parameters.tables.output"
WORDS = ("predict", "buckets")
MODEL = ("train", "predict", "buckets", "bench")
REPORT = ("train", "compare")
ALL = ("train", "compare", *WORDS, "bench")

CASES: dict[str, tuple[Damage, tuple[str, ...], str]] = {
    "shortened vocabulary": (
        edited("vocabulary.json", lambda v: v[:-1]),
        WORDS,
        "vocabulary.json: names 43 rows, but config.yaml beside it says 44 .data.vocabulary.",
    ),
    "repeated word": (
        edited("vocabulary.json", lambda v: [*v[:-1], v[0]]),
        WORDS,
        "vocabulary.json: has the word",
    ),
    "reordered vocabulary": (
        edited("vocabulary.json", lambda v: v[::-1]),
        WORDS,
        "vocabulary.json: not the names",
    ),
    "vocabulary object": (replaced("vocabulary.json", "{}"), WORDS, "vocabulary.json: must be a JSON list"),
    "null word": (
        edited("vocabulary.json", lambda v: [None, *v[1:]]),
        WORDS,
        "vocabulary.json: must be a JSON list",
    ),
    "deep vocabulary": (
        replaced("vocabulary.json", "[" * 100_000),
        WORDS,
        "vocabulary.json: must be a JSON list",
    ),
    "no vocabulary": (lambda run: (run / "vocabulary.json").unlink(), WORDS, "vocabulary.json: no readable"),
    "vocabulary of bytes": (
        lambda run: (run / "vocabulary.json").write_bytes(b'["\xff"]'),
        WORDS,
        "vocabulary.json: no readable",
    ),
    "other width": (
        changed("config.yaml", "embedding: 8", "embedding: 16"),
        MODEL,
        "embedding|config.yaml: not of",
    ),
    "other vocabulary size": (
        changed("config.yaml", "vocabulary: 40", "vocabulary: 30"),
        MODEL,
        r"vocabulary(\.json: names 44 rows| is 30 there)|config.yaml: not of|data of",
    ),
    "other heads": (
        changed("config.yaml", "heads: 2", "heads: 4"),
        ALL,
        "config.yaml: not of this run .model.heads is 4, and was 2 when it began",
    ),
    "other seed": (changed("config.yaml", "seed: 0", "seed: 1"), ALL, "config.yaml: not of this run .seed"),
    "infinite rows": (
        changed("metrics.jsonl", '"flops": ', '"flops": 1e999, "was": '),
        ("train",),
        "metrics.jsonl, line 1: flops = inf",
    ),
    "impossible accuracy": (
        edited("summary.json", lambda value: value["evaluation"].update(accuracy=-5.0)),
        ("compare",),
        "summary.json: evaluation.accuracy = -5.0",
    ),
    "configuration of nothing": (
        replaced("config.yaml", ""),
        ("train", *WORDS),
        "vocabulary|config.yaml: not of|holds a run of another configuration .data.tokenizer is",
    ),
    "no number": (
        changed("config.yaml", "embedding: 8", "embedding: yes"),
        ALL,
        "config.yaml: model.embedding = 'yes'",
    ),
    "repeated setting": (
        changed("config.yaml", "seed: 0", "seed: 0\nseed: 1"),
        ALL,
        "config.yaml: seed: given twice",
    ),
    "null line": (
        lines("metrics.jsonl", lambda v: ["null", *v]),
        REPORT,
        "metrics.jsonl, line 1: must be an object",
    ),
    "null at the end": (
        lines("metrics.jsonl", lambda v: [*v, "null"]),
        REPORT,
        "metrics.jsonl, line 3: must be",
    ),
    "list line": (
        lines("metrics.jsonl", lambda v: ["[]", *v]),
        REPORT,
        "metrics.jsonl, line 1: must be an object",
    ),
    "number line": (
        lines("metrics.jsonl", lambda v: ["7", *v]),
        REPORT,
        "metrics.jsonl, line 1: must be an object",
    ),
    "repeated line": (
        lines("metrics.jsonl", lambda v: [*v, v[-1]]),
        REPORT,
        "metrics.jsonl: round 2 where round 3",
    ),
    "reordered lines": (
        lines("metrics.jsonl", lambda v: v[::-1]),
        REPORT,
        "metrics.jsonl: round 2 where round 1",
    ),
    "missing lines": (lines("metrics.jsonl", lambda v: v[:1]), REPORT, "metrics.jsonl: ends at round 1"),
    "no lines": (lambda run: (run / "metrics.jsonl").unlink(), REPORT, "metrics.jsonl: ends at round 0"),
    "line without bytes": (
        changed("metrics.jsonl", '"bytes"', '"x"'),
        REPORT,
        "metrics.jsonl, line 1: has no bytes",
    ),
    "line without clients": (
        changed("metrics.jsonl", '"clients"', '"x"'),
        ("train",),
        "line 1: has no clients",
    ),
    "round as text": (changed("metrics.jsonl", '"round": 1', '"round": "1"'), REPORT, "line 1: round = '1'"),
    "metrics folder": (folder_instead("metrics.jsonl"), REPORT, "metrics.jsonl: cannot be read"),
    "null timing": (
        lines("timings.jsonl", lambda v: ["null", *v]),
        ("train",),
        "timings.jsonl, line 1: must be",
    ),
    "timing without play": (
        changed("timings.jsonl", '"play"', '"x"'),
        ("train",),
        "timings.jsonl, line 1: has no play",
    ),
    "list summary": (replaced("summary.json", "[]"), REPORT, r"summary.json: must be an object, not \[\]"),
    "null summary": (replaced("summary.json", "null"), REPORT, "summary.json: must be an object, not None"),
    "empty summary": (replaced("summary.json", ""), REPORT, "summary.json: damaged"),
    "deep summary": (replaced("summary.json", "[" * 100_000), REPORT, "summary.json: damaged"),
    "no device": (
        edited("summary.json", lambda v: v.pop("device") and None),
        REPORT,
        "summary.json: has no device",
    ),
    "no nll": (changed("summary.json", '"nll"', '"x"'), REPORT, "summary.json: has no evaluation.nll"),
    "rounds as text": (
        changed("summary.json", '"rounds": 2', '"rounds": "2"'),
        REPORT,
        "summary.json: rounds = '2'",
    ),
    "list of bytes": (
        edited("summary.json", lambda v: v["device"].update(bytes=[])),
        REPORT,
        "device.bytes = ",
    ),
    "no checksum": (
        edited("data.json", lambda v: v.pop("sha256") and None),
        ("train", "bench"),
        "has no sha256",
    ),
    "checksum of no text": (edited("data.json", lambda v: v.update(sha256=3)), ALL, "data.json: sha256 = 3"),
    "no floors": (edited("data.json", lambda v: v.pop("floors") and None), ALL, "data.json: has no floors"),
    "no floor": (changed("data.json", '"bigram_nll"', '"x"'), ALL, "data.json: has no floors.bigram_nll"),
    "list of facts": (replaced("data.json", "[]"), ALL, "data.json: must be an object"),
    "no facts": (lambda run: (run / "data.json").unlink(), ("compare",), "data.json: missing"),
    "rows as text": (changed("data.json", '"rows": 44', '"rows": "44"'), ALL, "data.json: rows = '44'"),
    "negative round": (edited(LATEST, lambda v: v.update(round=-1)), MODEL, "latest.json: .*round = -1"),
    "round of text": (edited(LATEST, lambda v: v.update(round="2")), MODEL, "latest.json: .*round = '2'"),
    "another round": (edited(LATEST, lambda v: v.update(round=1)), MODEL, "latest.json: .*file = "),
    "file elsewhere": (
        edited(LATEST, lambda v: v.update(file="../../x")),
        MODEL,
        r"latest.json: .*file = '\.\./",
    ),
    "file of no text": (edited(LATEST, lambda v: v.update(file=3)), MODEL, "latest.json: .*file = 3"),
    "no steps": (edited(LATEST, lambda v: v.pop("steps") and None), MODEL, "latest.json: .*has no steps"),
    "no weight": (
        edited(LATEST, lambda v: v.update(total_weight=None)),
        MODEL,
        "latest.json: .*total_weight = None",
    ),
    "null pointer": (replaced(LATEST, "null"), MODEL, "latest.json: .*must be an object"),
    "deep pointer": (replaced(LATEST, "[" * 100_000), MODEL, "latest.json: no readable checkpoint"),
    "missing row": (tensors(lambda v: v.update({ROWS: v[ROWS][:-1].clone()})), MODEL, "43.*8|8.*43"),
    "doubles": (tensors(lambda v: v.update({ROWS: v[ROWS].double()})), MODEL, "float64"),
    "no rows": (tensors(lambda v: v.pop(ROWS)), MODEL, "parameters.tables.output"),
    "more body": (tensors(lambda v: v.update({"parameters.body.z": torch.zeros(1)})), MODEL, "body.z"),
    "no moments": (tensors(lambda v: v.pop("first.tables.output")), ("train",), "first.tables.output"),
}
COMMANDS = {
    "train": ["train", "small.yaml", "--output", "run"],
    "compare": ["compare", "run"],
    "predict": ["predict", "run", "w1"],
    "buckets": ["reproduce", "buckets", "run"],
    "bench": ["run", "--clients", "1", "--seeds", "1", "--indexes", "random"],
}


@pytest.fixture(scope="module")
def whole(texts: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the configuration of a run, and the run of its first two rounds."""
    folder = tmp_path_factory.mktemp("runs")
    (folder / "small.yaml").write_text(small_config(texts).to_yaml())
    arguments = ["train", str(folder / "small.yaml"), "--rounds", "2", "--output", str(folder / "run")]
    assert main(arguments) == 0
    return folder


def contents(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("case", CASES)
def test_what_no_run_left_there_is_refused_by_name_and_nothing_is_lost(
    case: str,
    whole: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    for package in ("jinja2", "plotly"):
        pytest.importorskip(package)
    shutil.copytree(whole, tmp_path / "here")
    monkeypatch.chdir(tmp_path / "here")
    damage, commands, expected = CASES[case]
    damage(Path("run"))
    before = contents(Path("run"))
    for command in commands:
        assert (bench if command == "bench" else main)(COMMANDS[command]) == 2
        out, err = capsys.readouterr()
        assert out == ""
        *news, line = err.splitlines()
        assert [text.startswith("run folder: ") for text in news] == [True] * (command == "train")
        assert line.startswith("hashfed: ")
        assert len(line) < 600
        assert any(word in line for word in ("restore", "delete", "choose another", "writes it anew")), line
        assert Path("run").name in line
        assert "the same command" not in line
        assert re.search(expected, line), line
        assert contents(Path("run")) == before


def test_what_other_versions_may_have_written_is_no_matter(whole: Path, tmp_path: Path) -> None:
    shutil.copytree(whole / "run", tmp_path / "run")
    edited("data.json", lambda v: v.update(newer=[1]) or v["floors"].update(newer=0.5))(tmp_path / "run")
    edited("data.json", lambda v: v.pop("names_sha256") and None)(tmp_path / "run")
    edited("summary.json", lambda v: v.update(newer=None))(tmp_path / "run")
    run = RunFolder(tmp_path / "run")
    assert run.read_json("data.json")["newer"] == [1]
    assert run.read_json("summary.json")["newer"] is None
    assert len(run.names().words) == 40
    assert run.parameters().rows.shape == (44, 8)
