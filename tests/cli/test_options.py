"""Numbers and paths that options take, in every command."""

import argparse
from collections.abc import Iterator
from pathlib import Path

import pytest

from hashfed.cli.arguments import path, real, whole
from hashfed.cli.budgets import budget
from hashfed.cli.main import build_parser, main
from hashfed.cli.sizes import read_bytes
from hashfed.errors import HashfedError


def options(parser: argparse.ArgumentParser) -> Iterator[tuple[str, argparse.Action]]:
    """Every argument of every command."""
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for inner in action.choices.values():
                yield from options(inner)
        else:
            yield f"{parser.prog} {'/'.join(action.option_strings) or action.dest}", action


EVERY = list(options(build_parser()))


def test_every_option_takes_text_or_one_of_these() -> None:
    assert {action.type for _, action in EVERY} == {None, whole, real, path, budget}
    assert sum(action.type is whole for _, action in EVERY) >= 20
    assert sum(action.type is path for _, action in EVERY) >= 15


NO_WHOLE = [
    "",
    " 5",
    "5 ",
    "1_0",
    "0x10",
    "１０",
    "٣",
    "1e3",
    "5.0",
    "five",
    "true",
    "--",
    "9" * 19,
    "9" * 5000,
]
NO_REAL = [
    "",
    " 0.5",
    "1_0.5",
    "nan",
    "inf",
    "-inf",
    "Infinity",
    ".inf",
    "1e400",
    "０.5",
    "half",
    "0x1p3",
    "1e",
]


@pytest.mark.parametrize("text", NO_WHOLE)
def test_what_is_no_whole_number(text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError, match="must be a whole number") as caught:
        whole(text)
    assert len(str(caught.value)) < 300


@pytest.mark.parametrize("text", NO_REAL)
def test_what_is_no_number(text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError, match="must be a number"):
        real(text)
    for slip in (text, f"own+{text}", f"own+{text}%"):
        with pytest.raises(argparse.ArgumentTypeError, match="must be a number") as caught:
            budget(slip)
        assert len(str(caught.value)) < 400


def test_numbers() -> None:
    assert [whole(text) for text in ("0", "7", "-3", "+3", "010")] == [0, 7, -3, 3, 10]
    assert [real(text) for text in ("1", "0.5", ".5", "1e-3", "-2.")] == [1, 0.5, 0.5, 0.001, -2]


@pytest.mark.parametrize(
    "arguments",
    [
        ["predict", "run", "hi", "--top", "1_0"],
        ["reproduce", "buckets", "run", "--bits", "４"],
        ["cost", "--budgets", "nan"],
        ["serve", "--nodes", "0x2"],
        ["join", "127.0.0.1:8000", "--wait", "inf"],
        ["certificates", "d", "--days", "1_0"],
        ["certificates", "d", "--days", "9" * 400],
    ],
)
def test_a_mistake_is_one_line(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        main(arguments)
    assert stop.value.code == 2
    err = capsys.readouterr().err
    assert err.startswith("hashfed: argument --")
    assert err.count("\n") == 1
    assert len(err) < 400


@pytest.mark.parametrize(
    "text", ["１００", "1_0MB", "nan", "inf", " 5", "9" * 400, "1e3", "-5", "5 kk", "x" * 10_000]
)
def test_what_is_no_number_of_bytes(text: str) -> None:
    with pytest.raises(HashfedError, match="must be a number of bytes") as caught:
        read_bytes("--max-bytes", text)
    assert len(str(caught.value)) < 400


def test_home_folders_in_paths(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/ann")
    assert path("~/run") == Path("/home/ann/run")
    assert path("~") == Path("/home/ann")
    assert path("a/~") == Path("a/~")
    with pytest.raises(argparse.ArgumentTypeError, match="no home folder is known for ~nobody-of-this-name"):
        path("~nobody-of-this-name/x")


def test_home_folders_are_found_by_commands(
    trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for package in ("jinja2", "plotly"):
        pytest.importorskip(package)
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "tiny").symlink_to(trained)
    monkeypatch.chdir(tmp_path)
    assert main(["predict", "~/tiny", "w1"]) == 0
    assert main(["compare", "~/tiny", "--output=~/page.html"]) == 0
    assert main(["reproduce", "buckets", "~/tiny", "--output=~/buckets.html", "--json=~/buckets.json"]) == 0
    names = {"tiny", "page.html", "buckets.html", "buckets.json"}
    assert {item.name for item in tmp_path.iterdir()} == names


@pytest.mark.parametrize(
    ("words", "name"),
    [([], "NAME"), (["index"], "index"), (["memory", "--rounds", "2"], "memory"), (["x\x1b"], "NAME")],
)
def test_benchmarks_are_named_by_their_new_command(
    words: list[str], name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["bench", *words]) == 2
    expected = f"hashfed: bench: now python -m benchmarks.{name}, in a checkout of hashfed's sources\n"
    assert capsys.readouterr().err == expected


@pytest.mark.parametrize("name", ["metrics.jsonl", "config.yaml", "summary.json", "checkpoint/latest.json"])
@pytest.mark.parametrize(
    ("command", "option"),
    [(["compare"], "--output"), (["reproduce", "buckets"], "--output"), (["reproduce", "buckets"], "--json")],
)
def test_no_result_replaces_what_a_run_wrote_of_itself(
    command: list[str], option: str, name: str, trained: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = (trained / name).read_bytes()
    assert main([*command, str(trained), option, str(trained / name)]) == 2
    assert capsys.readouterr().err.splitlines()[-1] == (
        f"hashfed: {option} = {trained / name}: belongs to the run in that folder; choose another file"
    )
    assert (trained / name).read_bytes() == before
