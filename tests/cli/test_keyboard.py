"""``hashfed keyboard`` as it is started and ended."""

import shutil
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from hashfed.cli.main import main
from small import PATIENCE


def mistake(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    assert main(["keyboard", *arguments]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("hashfed: ")
    assert err.count("\n") == 1
    return err.strip().removeprefix("hashfed: ")


def test_mistakes(trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = str(trained)
    assert mistake(capsys, str(tmp_path)) == f"{tmp_path}: not a run (it has no config.yaml)"
    assert mistake(capsys, run, str(tmp_path)) == f"{tmp_path}: not a run (it has no config.yaml)"
    assert mistake(capsys, run, run) == f"{run}: given twice; one run is enough, or two different ones"
    for port in (65536, -1):
        assert mistake(capsys, run, "--port", str(port)) == f"--port = {port}: must be from 0 to 65535"

    bare = shutil.copytree(trained, tmp_path / "bare")
    shutil.rmtree(bare / "checkpoint")
    assert mistake(capsys, str(bare)) == f"{bare}: has no checkpoint yet"
    damaged = shutil.copytree(trained, tmp_path / "damaged")
    (damaged / "vocabulary.json").write_text("[1]")
    assert mistake(capsys, str(damaged)).startswith(f"{damaged / 'vocabulary.json'}: must be a JSON list")

    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert mistake(capsys, run, "--port", str(port)) == f"--port = {port}: Address already in use"


def test_it_serves_until_it_is_stopped(trained: Path) -> None:
    command = [sys.executable, "-m", "hashfed", "keyboard", str(trained)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        line = process.stdout.readline()
        assert line.startswith("page: http://127.0.0.1:")
        with socket.create_connection(("127.0.0.1", int(line.strip().strip("/").rpartition(":")[2]))):
            process.send_signal(signal.SIGINT)  # a browser that holds a connection keeps nothing going
            _, error = process.communicate(timeout=PATIENCE)
    assert process.returncode == 130
    assert error.splitlines() == [
        "what is typed on the page stays on this machine; Ctrl-C ends",
        "hashfed: stopped; what was saved is kept",
    ]


def test_the_browser_is_opened_where_asked_for(
    trained: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    opened: list[str] = []

    def find_none(url: str) -> bool:
        opened.append(url)
        return False

    monkeypatch.setattr("webbrowser.open", find_none)
    monkeypatch.setattr("hashfed.cli.keyboard.KeyboardServer.serve_forever", lambda server: None)
    assert main(["keyboard", str(trained)]) == 0
    assert opened == []
    assert main(["keyboard", str(trained), "--open"]) == 0
    out, err = capsys.readouterr()
    assert opened == [out.splitlines()[-1].removeprefix("page: ")]
    assert err.splitlines()[-1].startswith("hashfed: --open: no browser found")
