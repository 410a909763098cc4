"""``hashfed reproduce`` as its user runs it."""

import fcntl
import json
import os
import random
import re
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from hashfed.cli.main import main
from hashfed.reproduction.scales import SCALES
from hashfed.runs.folder import RunFolder
from small import PATIENCE

CLOCK = re.compile(rb"\b(hours?|minutes?|seconds?)\b")


def command(texts: Path, *more: str) -> list[str]:
    """Of a small reproduction in the folder ``out``: 2 vocabularies, 3 methods."""
    return [
        *("reproduce", "figure1", "--scale", "smoke", "--data.source", str(texts), "--jobs", "2"),
        *("--vocabularies", "20", "40", "--methods", "simhash", "planes", "--output", "out", *more),
    ]


def files(folder: Path) -> dict[str, bytes]:
    """What a report consists of, without the lines that say how long it took."""
    return {
        path.name: b"\n".join(line for line in path.read_bytes().splitlines() if not CLOCK.search(line))
        for path in sorted(folder.iterdir())
        if path.is_file()
    }


def refused(capsys: pytest.CaptureFixture[str], *arguments: object) -> str:
    """The one line of a mistake."""
    try:
        code: object = main(["reproduce", *map(str, arguments)])
    except SystemExit as stop:
        code = stop.code
    assert code == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    return error.strip().removeprefix("hashfed: ")


def test_a_killed_reproduction_goes_on_to_the_same_report(
    texts: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """Killed at five moments, with its processes left to find out."""
    (tmp_path / "one").mkdir()
    (tmp_path / "other").mkdir()
    monkeypatch.chdir(tmp_path / "one")
    assert main(command(texts)) == 0
    whole = capfd.readouterr().err.count("accuracy")
    assert whole == 2 * (3 * 2 + 1 + 2 + 3)
    chosen, ended = random.Random(7), 0
    for _ in range(5):
        process = subprocess.Popen(
            [sys.executable, "-m", "hashfed", *command(texts)],
            cwd=tmp_path / "other",
            stderr=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            text=True,
        )
        assert process.stderr is not None
        lines = chosen.randint(1, 5)
        while lines and (line := process.stderr.readline()):
            lines -= "accuracy" in line
            ended += "accuracy" in line
        process.kill()
        process.wait(PATIENCE)
        process.stderr.close()
    monkeypatch.chdir(tmp_path / "other")
    assert main(command(texts)) == 0
    last = capfd.readouterr().err.count("accuracy")
    # A run whose line was not read may have been finished; none is made twice.
    assert last <= whole - ended
    assert files(tmp_path / "one" / "out") == files(tmp_path / "other" / "out")
    assert main(command(texts)) == 0
    assert "accuracy" not in capfd.readouterr().err


def begun(command: subprocess.Popen[bytes], folder: Path) -> list[Path]:
    """The runs that have made rounds, once there are any."""
    while not (
        runs := [path.parent for path in folder.glob("runs/*/*/metrics.jsonl") if path.stat().st_size]
    ):
        assert command.poll() is None
    return runs


def saved_rounds(run: Path) -> int:
    return int(json.loads((run / "checkpoint" / "latest.json").read_text())["round"])


def test_ctrl_c_saves_the_runs_in_hand(texts: Path, tmp_path: Path) -> None:
    told = tmp_path / "told"
    with told.open("wb") as error:
        process = subprocess.Popen(
            [sys.executable, "-m", "hashfed", *command(texts, "--rounds", "100000")],
            cwd=tmp_path,
            stderr=error,
            stdout=subprocess.DEVNULL,
            start_new_session=True,
        )
        runs = begun(process, tmp_path / "out")
        os.killpg(process.pid, signal.SIGINT)
        assert process.wait(PATIENCE) == 130
    assert "hashfed: stopped and saved; the same command goes on from here" in told.read_text()
    for run in runs:
        assert saved_rounds(run) == len(RunFolder(run).lines("metrics.jsonl"))


def test_runs_whose_command_is_killed_are_saved(texts: Path, tmp_path: Path) -> None:
    told = tmp_path / "told"
    with told.open("wb") as error:
        process = subprocess.Popen(
            [sys.executable, "-m", "hashfed", *command(texts, "--rounds", "100000", "--jobs", "1")],
            cwd=tmp_path,
            stderr=error,
            stdout=subprocess.DEVNULL,
        )
        [run] = begun(process, tmp_path / "out")
        process.kill()
        process.wait(PATIENCE)
    assert RunFolder(run).wait_until_free(PATIENCE)
    assert saved_rounds(run) == len(RunFolder(run).lines("metrics.jsonl"))
    assert b"Traceback" not in told.read_bytes()


def test_two_commands_at_once_do_not_share_a_folder(
    texts: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "out").mkdir()
    with (tmp_path / "out" / ".lock").open("wb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        line = refused(capsys, *command(texts)[1:])
    assert line == "--output = out: another process is working on this reproduction"
    assert [path.name for path in (tmp_path / "out").iterdir()] == [".lock"]


def test_results_of_other_settings_are_not_taken_for_these(
    texts: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    small = ["--vocabularies", "20", "--methods", "full", "--trials", "1"]
    assert main(command(texts, *small)) == 0
    capsys.readouterr()
    line = refused(capsys, *command(texts, *small, "--data.sentence_length", "7")[1:])
    assert "holds a run of another reproduction (data.sentence_length is 20 there, 7 here)" in line


def test_a_dry_run_says_how_long_and_makes_nothing(
    texts: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(command(texts, "--dry-run")) == 0
    error = capsys.readouterr().err
    assert "out: 24 runs and trials; about" in error
    assert "with 2 at a time" in error
    assert list(tmp_path.iterdir()) == []


def test_mistakes_are_one_line(
    texts: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert refused(capsys, "figure1", "--scale", "huge") == (
        "--scale = huge: must be one of smoke, small, paper"
    )
    assert refused(capsys, "figure1", "--methods", "hash").startswith("--methods = hash: must be of full, ")
    assert refused(capsys, "figure1", "--methods", "mips", "mips") == "--methods: mips stands twice"
    assert refused(capsys, "table2", "--seeds", "0") == "--seeds = 0: must be at least 1"
    assert refused(capsys, "table2", "--jobs", "0") == "--jobs = 0: must be at least 1"
    assert refused(capsys, "figure1", "--budgets", "2") == "--budgets = 2: must be > 0 and ≤ 1"
    assert "no such option" in refused(capsys, "figure1", "--data.vocabulary", "10")
    assert refused(capsys, "all", "--data.source", "nowhere.jsonl").startswith("data.source = nowhere.jsonl")
    assert refused(capsys, "all", "--device", "tpu").startswith("device = 'tpu'")
    assert "no such option" in refused(capsys, "table1", "--methods", "full")
    assert "no such option" in refused(capsys, "table2", "--budgets", "0.5")
    line = refused(capsys, "table2", "--methods", "random")
    assert line == "--methods = random: must be of full, simhash, planes"
    (tmp_path / "file").touch()
    small = ["figure1", "--data.source", texts, "--vocabularies", "20"]
    assert refused(capsys, *small, "--output", "file") == "--output = file: File exists"
    run = tmp_path / "run"
    run.mkdir()
    (run / "config.yaml").touch()
    line = refused(capsys, "figure1", "--data.source", texts, "--vocabularies", "20", "--output", run)
    assert line == f"--output = {run}: the folder of a run; choose another"


def test_table_1_needs_no_data(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["reproduce", "table1", "--scale", "paper", "--output", "out"]) == 0
    assert (tmp_path / "out" / "table1.csv").read_text().count("330K") == 1


def test_a_diverged_trial_is_a_result(
    texts: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """With rates that no model survives, trials and runs fail, are told, kept, and not made again."""
    wild = {"client.learning_rate": (100.0,), "server.learning_rate": (100.0,)}
    grid = {**SCALES["smoke"].grid, **wild}
    monkeypatch.setitem(SCALES, "smoke", replace(SCALES["smoke"], grid=grid, rounds=200, trial_rounds=200))
    monkeypatch.chdir(tmp_path)
    small = ["--vocabularies", "20", "--methods", "full", "--trials", "1"]
    assert main(command(texts, *small)) == 0
    error = capsys.readouterr().err
    assert "trials/20-words/full-01: failed" in error
    assert "runs/20-words/full-1-seed0: failed" in error
    assert "the training diverged" in (tmp_path / "out" / "trials.csv").read_text()
    assert main(command(texts, *small)) == 0
    assert "failed" not in capsys.readouterr().err
    assert main(command(texts, *small, "--dry-run")) == 0
    assert capsys.readouterr().err == "out: 2 runs and trials, all finished\n"


def test_all_of_the_paper_at_the_scale_of_a_test(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """On the default data, as the documentation says it."""
    pytest.importorskip("chitchat_dataset")
    monkeypatch.chdir(tmp_path)
    assert main(["reproduce", "all", "--scale", "smoke"]) == 0
    folder = tmp_path / "runs" / "reproduction-smoke"
    names = {path.name for path in folder.iterdir()}
    assert names >= {"report.html", "report.md", "buckets.html", "figure1.csv", "table1.csv", "table2.csv"}
    assert names >= {"figure1.svg", "figure1.pdf", "trials.csv"}
    assert "page: " in capsys.readouterr().out
    figure = (folder / "figure1.csv").read_text().splitlines()
    assert len(figure) == 1 + 2 * (1 + 3 * 2 + 2 * 3)
