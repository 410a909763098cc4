"""What commands tell about the files that they read."""

import json
from pathlib import Path

import pytest

from hashfed.cli.main import main
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
