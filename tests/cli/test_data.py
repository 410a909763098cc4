"""What commands tell about the files that they read."""

import io
import json
import sys
from pathlib import Path

import pytest

from hashfed.cli.main import main
from hashfed.cli.reading import reading_shown
from hashfed.runs import reading
from hashfed.tasks.next_word.prepared import cache
from small import small_config


@pytest.fixture
def folder(texts: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The texts as a folder, with what else is found in folders."""
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "texts"
    for number, line in enumerate(texts.open()):
        item = json.loads(line)
        path = (
            folder
            / ("old.txt" if number % 4 == 0 else "")
            / f"{item['client']}.{'TXT' if number % 2 else 'txt'}"
        )
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("".join(f"{text}\n" for text in item["texts"]))
    return folder


def clutter(folder: Path) -> None:
    copy = folder / ".ipynb_checkpoints" / "c1-checkpoint.txt"
    copy.parent.mkdir()
    copy.write_text("w1 w2\n")
    (folder / ".DS_Store").write_bytes(bytes(100))
    (folder / "notes.md").write_text("# w1\n")
    (folder / "c9.txt").symlink_to("c1.TXT")


def command(name: str) -> list[str]:
    Path("run.yaml").write_text(small_config(Path("texts"), rounds=1).to_yaml())
    return [*name.split(), "run.yaml", *(["--output", "run"] if name == "train" else [])]


@pytest.mark.parametrize("name", ["data describe", "train"])
def test_what_is_not_read_changes_nothing_and_is_told_in_one_line(
    name: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(command("data describe")) == 0
    clean = capsys.readouterr()
    assert clean.err == ""
    clutter(folder)
    assert main(command(name)) == 0
    out, err = capsys.readouterr()
    reasons = "2 hidden, 1 .md, 1 linked twice"
    said = [line for line in err.splitlines() if not line.startswith("run folder: ")]
    assert said == [f"hashfed: data.source = texts: 4 files not read: {reasons}"]
    if name == "data describe":
        assert out == clean.out


@pytest.mark.parametrize(
    ("name", "content", "expected"),
    [
        ("a.txt", "word".encode("utf-16-le"), "texts/a.txt: UTF-16LE without a byte order mark, it seems; "),
        ("a.txt", b"\x00", "texts/a.txt: line 1 holds the control character U+0000"),
        (
            "a.jsonl",
            b'{"client": "a", "texts": ["x"], "text": []}',
            'texts/a.jsonl, line 1: "text": no such field',
        ),
        ("a.jsonl", b'{"client": "a", "client": "b"}', 'texts/a.jsonl, line 1: "client" is there twice'),
    ],
)
def test_what_is_no_text_ends_with_one_line(
    name: str, content: bytes, expected: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    clutter(folder)
    (folder / name).write_bytes(content)
    assert main(command("data describe")) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith(f"hashfed: {expected}")
    assert err.count("\n") == 1


@pytest.mark.parametrize("name", ["data describe", "train"])
def test_how_far_a_large_source_is_prepared_is_shown_once(
    name: str, folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(cache, "LARGE", 10)
    monkeypatch.setattr(reading, "EVERY", 100)
    monkeypatch.setenv("HASHFED_CACHE", str(folder.parent / "cache"))
    count = sum(path.read_text().count("\n") for path in folder.rglob("*") if path.is_file())

    def said() -> list[str]:
        return [line for line in capsys.readouterr().err.splitlines() if not line.startswith("run folder: ")]

    assert main(command(name)) == 0
    first, *lines = said()
    assert first.startswith("hashfed: data.source = texts: ")
    assert "prepared once, in " in first
    prefix = "hashfed: preparing the data (write): "
    passed = [line.removeprefix(prefix) for line in lines]  # in one pass, all lines are of it
    assert all(line.startswith(prefix) for line in lines)
    assert passed[-1] == f"all {count} texts"
    assert len(passed) == count // 100 + 1
    assert main(command(name)) == 0
    assert said() == []


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_on_a_terminal_each_pass_has_a_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    with reading_shown() as tell:
        for name, texts in (("count words", 7), ("count words", 5), ("write", 12)):
            tell(name, texts)
        shown = terminal.getvalue()
        assert "count words: 12.0 texts" in shown
        assert shown.rpartition("\r")[2].startswith("write: 0")


def test_of_a_pass_that_fails_it_is_not_said_that_all_was_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "EVERY", 10)
    said: list[str] = []

    def fail() -> None:
        with reading.told_in_lines(said.append) as tell:
            for texts in (9, 0, 25, 1):
                tell("write", texts)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert said == ["preparing the data (write): 34 texts"]
