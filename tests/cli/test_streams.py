"""Standard output and standard error of every kind that a shell can give a command."""

import io
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TextIO

import pytest

from hashfed.cli.main import main
from small import small_config


@pytest.fixture(autouse=True)
def in_an_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def full() -> TextIO:
    return Path("/dev/full").open("w")


def unread() -> TextIO:
    """A pipe whose reader has left."""
    reader, writer = os.pipe()
    os.close(reader)
    return os.fdopen(writer, "w")


def closed() -> None:
    """What Python makes of it."""


COMMANDS = {
    "help": ["--help"],
    "long help": ["train", "--help"],
    "version": ["--version"],
    "predict": ["predict", "RUN", "w1 w2"],
    "buckets": ["reproduce", "buckets", "RUN", "--bits", "2", "--output", "buckets.html"],
    "compare": ["compare", "RUN"],
    "describe": ["data", "describe", "small.yaml"],
    "cost": ["cost", "small.yaml", "--no-measure", "--json", "cost.json"],
    "train": ["train", "small.yaml", "--output", "run", "--rounds", "1"],
    "serve": ["serve", "small.yaml", "--show-commands"],
}
FILES = {
    "buckets": "buckets.html",
    "compare": "comparison.html",
    "cost": "cost.json",
    "train": "run/summary.json",
}


def run(command: str, trained: Path, texts: Path) -> object:
    """The exit code."""
    if command in ("buckets", "compare"):
        pytest.importorskip("jinja2")
        pytest.importorskip("plotly")
    if command == "serve":
        pytest.importorskip("flwr")
    Path("small.yaml").write_text(small_config(texts).to_yaml())
    arguments = [str(trained) if word == "RUN" else word for word in COMMANDS[command]]
    try:
        return main(arguments)
    except SystemExit as stop:
        return stop.code


@pytest.mark.parametrize(
    ("make", "code", "told"),
    [
        (full, 2, "hashfed: standard output cannot be written (No space left on device)"),
        (closed, 2, "hashfed: standard output cannot be written (Bad file descriptor)"),
        (unread, 1, None),
    ],
    ids=["full", "closed", "unread"],
)
@pytest.mark.parametrize("command", COMMANDS)
def test_output_that_cannot_be_written(
    command: str,
    make: Callable[[], TextIO | None],
    code: int,
    told: str | None,
    trained: Path,
    texts: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Work that is kept in files is done all the same."""
    output = make()
    with monkeypatch.context() as patch:
        patch.setattr("sys.stdout", output)
        assert run(command, trained, texts) == code
        assert sys.stdout is output
    lines = [line for line in capsys.readouterr().err.splitlines() if not line.startswith("run folder: ")]
    assert lines == ([] if told is None else [told])
    if output is not None:
        output.close()  # nothing is left in it that fails now
    if command in FILES:
        assert Path(FILES[command]).stat().st_size > 0


@pytest.mark.parametrize("encoding", ["ascii", "latin-1"])
@pytest.mark.parametrize("command", COMMANDS)
def test_output_of_another_encoding(
    command: str, encoding: str, trained: Path, texts: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    output = io.TextIOWrapper(io.BytesIO(), encoding=encoding)
    with monkeypatch.context() as patch:
        patch.setattr("sys.stdout", output)
        assert run(command, trained, texts) == 0
    output.seek(0)
    shown = output.read()
    assert shown
    if command == "long help":
        assert "\\u2265 1" in shown


@pytest.mark.parametrize("make", [full, closed, unread])
def test_a_training_goes_on_without_standard_error(
    make: Callable[[], TextIO | None],
    trained: Path,
    texts: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    errors = make()
    with monkeypatch.context() as patch:
        patch.setattr("sys.stderr", errors)
        assert run("train", trained, texts) == 0
        assert main(["train", "none.yaml"]) == 2
    if errors is not None:
        errors.close()
    assert "accuracy" in capsys.readouterr().out
    assert json.loads(Path("run", "summary.json").read_text())["rounds"] == 1


NO_PROBE = """
import sys
from hashfed.cli.main import main
module = sys.modules["hashfed.runs.train"]
module.measure_device_memory = lambda *_: {"memory_baseline": 1, "memory_peak": 2}
sys.exit(main())
"""


def test_a_training_by_the_shell(texts: Path) -> None:
    """With workers, whose standard error is the same one."""
    Path("small.yaml").write_text(small_config(texts, rounds=2, workers=2).to_yaml())
    line = f"exec {sys.executable} -c '{NO_PROBE}' train small.yaml --output run <&- >&- 2>&-"
    done = subprocess.run(["sh", "-c", line], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr == ""
    assert json.loads(Path("run", "summary.json").read_text())["rounds"] == 2


@pytest.mark.parametrize("arguments", ["train --help", "train none.yaml"])
def test_a_full_output_by_the_shell(arguments: str) -> None:
    line = f"exec {sys.executable} -m hashfed {arguments} > /dev/full"
    done = subprocess.run(["sh", "-c", line], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr.startswith("hashfed: ")
    assert done.stderr.count("\n") == 1
