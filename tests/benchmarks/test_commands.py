"""Command lines of the benchmarks."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

import benchmarks
from benchmarks.client.__main__ import main as client
from benchmarks.index.__main__ import main as index
from hashfed.display import LONGEST_LINE

FOLDER = Path(benchmarks.__file__).parent
NAMES = sorted(path.parent.name for path in FOLDER.glob("*/__main__.py"))
NAMES += sorted(path.stem for path in FOLDER.glob("*.py") if "__main__" in path.read_text())
HELP = """\
import contextlib, io, runpy, sys
assert not __doc__, "asserts are gone, and so are docstrings"
for name in sys.argv[1:]:
    sys.argv = [name, "--help"]
    found = io.StringIO()
    with contextlib.redirect_stdout(found):
        try:
            runpy.run_module(f"benchmarks.{name}", run_name="__main__")
        except SystemExit as stop:
            print(name, stop.code, "usage: " in found.getvalue(), file=sys.stderr)
"""


def test_every_benchmark_is_a_module_of_the_checkout_and_helps() -> None:
    pytest.importorskip("flwr")
    assert {"client", "index", "memory", "simulation", "tail_estimator"} <= set(NAMES)
    program = [sys.executable, "-OO", "-c", HELP, *NAMES]
    done = subprocess.run(program, capture_output=True, text=True, check=False, cwd=FOLDER.parent)
    assert done.stderr.splitlines() == [f"{name} 0 True" for name in NAMES]


@pytest.mark.parametrize(
    ("main", "arguments"),
    [(index, ["--rows", "1e3"]), (client, ["--repeats", " 5"]), (client, ["--budgets"])],
)
def test_a_mistake_is_one_line(
    main: Callable[[list[str]], int], arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as stop:
        main(arguments)
    assert stop.value.code == 2
    err = capsys.readouterr().err
    assert err.startswith("hashfed: argument --")
    assert err.count("\n") == 1
    assert len(err) < 400


@pytest.mark.parametrize("layer", ["\x1b[2J", "x" * 10**5], ids=["raw", "long"])
def test_what_is_no_layer_is_shown_harmless_and_short(
    layer: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert index([layer]) == 2
    out, err = capsys.readouterr()
    assert "\x1b" not in out + err
    assert err.splitlines()[-1].startswith("hashfed: LAYER = ")
    assert len(err.splitlines()[-1]) <= LONGEST_LINE + 20


def test_home_folders_are_found(trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for package in ("jinja2", "plotly"):
        pytest.importorskip(package)
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "tiny").symlink_to(trained)
    monkeypatch.chdir(tmp_path)
    one = ["--clients", "1", "--seeds", "1", "--indexes", "random", "--output", "~/bench"]
    assert index([*one, "~/tiny"]) == 0
    assert {item.name for item in tmp_path.iterdir()} == {"tiny", "bench"}
