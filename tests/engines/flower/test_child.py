import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from hashfed.deploy.child import Child, reason_in
from hashfed.errors import HashfedError
from small import PATIENCE


def child(tmp_path: Path, script: str) -> Child:
    return Child(["sh", "-c", script], tmp_path / "log", os.environ)


def is_gone(pid: int) -> bool:
    """Whether a process has ended, perhaps not yet reaped by its new parent."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return True
    return state == "Z"


def test_an_early_end_is_told_with_its_last_lines(tmp_path: Path) -> None:
    with child(tmp_path, "echo one; printf '\\033[91mERROR \\033[0m: two\\n' >&2; exit 7") as process:
        with pytest.raises(HashfedError) as error:
            process.wait_for_output("never", PATIENCE)
        assert str(error.value) == "sh ended with exit code 7: ERROR : two"
        assert process.new_lines() == ["one", "ERROR : two"]
        assert process.new_lines() == []


def test_waiting_is_not_for_ever(tmp_path: Path) -> None:
    with (
        child(tmp_path, "echo starting; exec sleep 3600") as process,
        pytest.raises(HashfedError, match=r"sh is not ready after 0.3 s: (starting|\(it wrote nothing\))"),
    ):
        process.wait_for_output("ready", 0.3)
    assert process.exit_code == -15


@pytest.mark.skipif(not Path("/proc").exists(), reason="asks /proc")
@pytest.mark.parametrize("how", ["kill", "terminate"])
def test_grandchildren_end_with_it(tmp_path: Path, how: str) -> None:
    with child(tmp_path, "trap '' TERM; sleep 3600 & echo $!; echo ready; wait; wait") as process:
        process.wait_for_output("ready", PATIENCE)
        grandchild = int(process.output().split()[0])
        process.kill() if how == "kill" else process.terminate(timeout=0.3)
        assert process.exit_code == -9
        for _ in range(50 * PATIENCE):
            if is_gone(grandchild):
                break
            time.sleep(0.02)
        assert is_gone(grandchild)


@pytest.mark.skipif(not Path("/proc").exists(), reason="asks /proc")
def test_it_ends_when_we_are_killed(tmp_path: Path) -> None:
    code = (
        "import os, pathlib, time\n"
        "from hashfed.deploy.child import Child\n"
        f"child = Child(['sleep', '3600'], pathlib.Path({str(tmp_path / 'log')!r}), os.environ)\n"
        "print(child.pid, flush=True)\n"
        "time.sleep(3600)\n"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-c", code]
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as we:
        assert we.stdout is not None
        pid = int(we.stdout.readline())
        assert not is_gone(pid)
        we.kill()
    for _ in range(50 * PATIENCE):
        if is_gone(pid):
            break
        time.sleep(0.02)
    assert is_gone(pid)


def test_a_program_that_is_not_installed(tmp_path: Path) -> None:
    with pytest.raises(HashfedError, match=r"no-such-program: not found; it comes with hashfed\[flower\]"):
        Child(["no-such-program"], tmp_path / "log", os.environ)


@pytest.mark.parametrize(
    ("output", "reason"),
    [
        ("", "(it wrote nothing)"),
        ("a\nb\nc\n\nd\n", "b / c / d"),
        ("a\nX ERROR y\nb\n", "X ERROR y"),
        ("ERROR : Exit Code: 302\nNo key.\nGeneral help.\n\nFor more\n", "No key."),
        (
            "Exit Code: 305\nFailed to initialize the connection to the SuperLink.\n[code: 1] No.\nHelp.\n\n",
            "[code: 1] No.",
        ),
        ("ERROR : Exit Code: 1\nOnly help.\n", "Only help."),
    ],
)
def test_reasons(output: str, reason: str) -> None:
    assert reason_in(output) == reason
