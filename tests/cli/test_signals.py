"""Signals that end processes, at every moment of a command's life."""

import contextlib
import fcntl
import json
import os
import pty
import signal
import subprocess
import sys
import termios
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from hashfed import Interrupted, RunFolder, train
from hashfed.runs.train import Silent
from hashfed.stopping import Stopped, handled, raised, signal_code
from small import small_config

PATIENCE = 600
"""Seconds: far above what a busy machine needs."""


def command(texts: Path, folder: Path, **more: Any) -> list[str]:
    config = small_config(texts, rounds=100_000, checkpoint_every=100_000, **more)
    path = folder.with_suffix(".yaml")
    path.write_text(config.to_yaml())
    return [sys.executable, "-m", "hashfed", "train", str(path), "--output", str(folder)]


def until(true: Callable[[], bool], process: "subprocess.Popen[Any]") -> None:
    end = time.monotonic() + PATIENCE
    while not true():
        assert process.poll() is None, "ended too early"
        assert time.monotonic() < end
        time.sleep(0.05)


def rounds(folder: Path) -> int:
    return len(RunFolder(folder).lines("metrics.jsonl"))


def saved(folder: Path) -> int:
    return int(json.loads((folder / "checkpoint" / "latest.json").read_text())["round"])


def nobody_left(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return True
    return False


def test_a_training_is_saved_whoever_ends_it(texts: Path, tmp_path: Path) -> None:
    """SIGTERM to all processes at once, as of Docker or Slurm; nohup; a terminal that closes."""
    folder = tmp_path / "run"
    process = subprocess.Popen(
        command(texts, folder, workers=2),
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        preexec_fn=lambda: signal.signal(signal.SIGHUP, signal.SIG_IGN),
    )
    until(lambda: rounds(folder) >= 2, process)
    os.killpg(process.pid, signal.SIGHUP)
    more = rounds(folder) + 2
    until(lambda: rounds(folder) >= more, process)
    os.killpg(process.pid, signal.SIGTERM)
    _, error = process.communicate(timeout=PATIENCE)
    assert error.splitlines()[-1] == "hashfed: stopped and saved; the same command goes on from here"
    assert "Traceback" not in error
    assert process.returncode == 143
    assert saved(folder) == rounds(folder) >= more
    assert nobody_left(process.pid)

    first = saved(folder)
    ours, theirs = pty.openpty()
    termios.tcsetwinsize(ours, (24, 80))
    os.set_blocking(ours, False)
    hung_up = subprocess.Popen(
        command(texts, folder, workers=2),
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        start_new_session=True,
        preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
    )
    os.close(theirs)
    shown = b""

    def seen() -> bool:
        nonlocal shown
        with contextlib.suppress(BlockingIOError):
            shown += os.read(ours, 1 << 16)
        return b"round" in shown and rounds(folder) >= first + 2

    until(seen, hung_up)
    os.close(ours)  # SIGHUP, and every write fails from now on
    assert hung_up.wait(PATIENCE) == 129
    assert saved(folder) == rounds(folder) >= first + 2
    assert nobody_left(hung_up.pid)


@pytest.mark.parametrize(
    ("moment", "number"),
    [(" numpy\n", signal.SIGINT), (" torch.autograd\n", signal.SIGTERM), ("run folder: ", signal.SIGINT)],
)
def test_a_command_that_has_only_begun(
    moment: str, number: signal.Signals, texts: Path, tmp_path: Path
) -> None:
    """While libraries are imported (Python tells which), and while data are read and workers start."""
    process = subprocess.Popen(
        command(texts, tmp_path / "run", workers=2),
        env={**os.environ, "PYTHONPROFILEIMPORTTIME": "1"},
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert process.stderr is not None
    assert any(moment in line for line in process.stderr)
    os.killpg(process.pid, number)
    # One of our end, and perhaps of imports that were not done yet.
    said = [line for line in process.stderr.read().splitlines() if not line.startswith("import time:")]
    assert process.wait(PATIENCE) == 128 + number
    assert len(said) == 1
    assert said[0].startswith("hashfed: stopped")
    assert nobody_left(process.pid)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_library_call_is_interrupted_and_signals_are_as_before(
    number: signal.Signals, texts: Path, tmp_path: Path
) -> None:
    class Stop(Silent):
        def round(self, metrics: dict[str, Any]) -> None:
            os.kill(os.getpid(), number)

    before = [signal.getsignal(one) for one in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)]
    config = small_config(texts, checkpoint_every=4).model_copy(update={"output": str(tmp_path)})
    with pytest.raises(Interrupted) as stop:
        train(config, Stop())
    assert signal_code(stop.value) == 128 + number
    assert saved(tmp_path) == rounds(tmp_path) == 1
    assert [signal.getsignal(one) for one in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)] == before


def test_a_second_hangup_does_not_end_what_the_first_one_began() -> None:
    seen = []
    with raised():
        try:
            os.kill(os.getpid(), signal.SIGHUP)
        except Stopped as stop:
            seen.append(stop.signal)
        os.kill(os.getpid(), signal.SIGTERM)
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
    assert seen == [signal.SIGHUP]


def test_what_was_ignored_stays_ignored() -> None:
    seen: list[int] = []
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with handled(seen.append):
            os.kill(os.getpid(), signal.SIGHUP)
            os.kill(os.getpid(), signal.SIGTERM)
    finally:
        signal.signal(signal.SIGHUP, before)
    assert seen == [signal.SIGTERM]


OPTIMIZED = """\
import contextlib, io, sys
from hashfed.cli.main import main
assert not __doc__, "asserts are gone, and so are docstrings"
commands = ["train", "cost", "serve", "join", "certificates", "compare", "predict",
            "reproduce buckets", "data describe"]
for command in ["", *commands]:
    found = io.StringIO()
    with contextlib.redirect_stdout(found):
        try:
            main([*command.split(), "--help"])
        except SystemExit as stop:
            print(command, stop.code, "usage: " in found.getvalue(), file=sys.stderr)
    if command == "train":
        print("help", "settings of retrieval" in found.getvalue(), "The one seed." in found.getvalue())
print("code", main(sys.argv[1:]))
"""


def test_without_asserts_and_docstrings(texts: Path, tmp_path: Path) -> None:
    path = tmp_path / "run.yaml"
    path.write_text(small_config(texts, rounds=1, workers=2).to_yaml())
    program = [sys.executable, "-OO", "-c", OPTIMIZED, "train", str(path), "--output", str(tmp_path / "run")]
    done = subprocess.run(program, capture_output=True, text=True, check=False)
    assert "Traceback" not in done.stderr
    lines = done.stderr.splitlines()
    assert sum(line.endswith(" 0 True") for line in lines) == 10
    assert done.stdout.splitlines()[0] == "help True True"
    assert done.stdout.splitlines()[-1] == "code 0"
