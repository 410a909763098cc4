"""What commands print of words, names and paths that anybody may have written."""

import json
import shutil
from pathlib import Path

import pytest

from hashfed.cli.main import main
from hashfed.display import LONGEST_LINE, brief, printable, shown
from small import small_config

RAW = "\x1b\x07\x00\x08\r\x7f\x85\x9b\u202e\u2066\u200f\u2028"
"""None of these may reach a terminal: escapes, overwriting, turned reading direction, further lines."""


@pytest.fixture(autouse=True)
def in_an_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def ran(capsys: pytest.CaptureFixture[str], *arguments: str, code: int = 0) -> tuple[str, str]:
    """Output and errors of a command, without anything raw."""
    try:
        found: object = main(arguments)
    except SystemExit as stop:
        found = stop.code
    out, err = capsys.readouterr()
    assert found == code, err
    assert not set(RAW) & set(out + err)
    return out, err


@pytest.mark.parametrize("char", RAW)
def test_printable(char: str) -> None:
    text = printable(f"é{char}[2J\u200dक")
    assert char not in text
    assert text.startswith("é\\")
    assert text.endswith("[2J\u200dक")


def test_brief_text_and_values() -> None:
    assert brief("x" * 160) == "x" * 160
    assert len(brief("x" * 10**6)) == 160
    assert brief("a" + "x" * 500 + "b")[0] == "a"
    assert brief("a" + "x" * 500 + "b")[-1] == "b"
    assert shown("a\x1b") == r"'a\x1b'"
    deep: list[object] = []
    for _ in range(10**5):
        deep = [deep]
    for value in (
        deep,
        "x" * 10**6,
        list(range(10**5)),
        10**10_000,
        {"a": deep},
        {str(i): i for i in range(9999)},
    ):
        assert len(shown(value)) <= 160


def with_words(trained: Path, words: list[str], name: str = "run") -> Path:
    """A copy of a run whose first words are others."""
    folder = Path(name)
    shutil.copytree(trained, folder)
    known = json.loads((folder / "vocabulary.json").read_text())
    (folder / "vocabulary.json").write_text(json.dumps([*words, *known[len(words) :]]))
    facts = json.loads((folder / "data.json").read_text())
    del facts["names_sha256"]
    (folder / "data.json").write_text(json.dumps(facts))
    return folder


def test_words(trained: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("plotly")
    words = [f"{char}w{place}" for place, char in enumerate(RAW)] + ["<b>", "\udce9", "क\u200dष"]
    with_words(trained, words)
    out, _ = ran(capsys, "predict", "run", "w30", "--top", "40")
    assert "\\x1bw0" in out
    assert "\\u202ew" in out
    assert "\\udce9" in out
    assert "क\u200dष" in out
    out, _ = ran(capsys, "reproduce", "buckets", "run", "--words", "40", "--buckets", "16")
    assert "\\x1bw0" in out
    ran(capsys, "reproduce", "buckets", "run", "--near", *(word for word in words if "\x00" not in word))
    _, err = ran(capsys, "reproduce", "buckets", "run", "--near", "\x1b[31mw0", code=2)
    assert "\\x1b[31mw0: not in the vocabulary; did you mean" in err
    page = Path("run", "buckets.html").read_text(encoding="utf-8", errors="surrogatepass")
    assert not {"\x1b", "\u202e", "\u2066"} & set(page.split("</script>", 1)[1])
    assert "\\x1bw0" in page


@pytest.mark.parametrize(
    "arguments",
    [
        ["train", "\x1b[31m.yaml"],
        ["train", "--\x1b[31m", "3"],
        ["\x1b[31m"],
        ["predict", "run\u202e", "w1"],
        ["compare", "a\nb"],
        ["train", "--data.source", "\x1b]0;title\x07"],
        ["train", "--output", "\x1b[2J", "--data.source", "none"],
        ["train", "--rounds", "\x1b[2J"],
        ["predict", "run", "w1", "--top", "\x1b[2J"],
        ["cost", "--max-bytes", "\x9b2J"],
        ["join", "\x1b[2J"],
        ["serve", "--address", "\x1b[2J"],
        ["serve", "--address", "a:" + "9" * 5000],
        ["train", "x" * 10**5],
        ["train", "--" + "x" * 10**5],
        ["train", "--rounds", "x" * 10**5],
        ["predict", "x" * 10**5, "w1"],
        ["compare", "x" * 10**5],
        ["join", "127.0.0.1:8000", "--texts", "x" * 10**5],
        ["train", "--output", "x" * 10**5, "--data.source", "none"],
        ["train", "--data.source", "x" * 10**5],
        ["certificates", "x" * 10**5],
        ["cost", "--data.source", "none", "--json", "x" * 10**5],
    ],
    ids=range(23),
)
def test_mistakes(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    for package in ("flwr", "jinja2", "plotly"):
        pytest.importorskip(package)
    out, err = ran(capsys, *arguments, code=2)
    assert out == ""
    *news, line = err.splitlines()
    assert [text.startswith("run folder: ") for text in news] in ([], [True])
    assert line.startswith("hashfed: ")
    assert len(line) <= LONGEST_LINE + 20


def test_names_of_runs_and_sources(trained: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for package in ("jinja2", "plotly"):
        pytest.importorskip(package)
    name = "run\x1b[31m\u202e<i>"
    shutil.copytree(trained, name)
    text = Path(name, "config.yaml").read_text()
    line = next(line for line in text.splitlines() if line.startswith("  source: "))
    Path(name, "config.yaml").write_text(text.replace(line, '  source: "/data/\\e[31m\\u202E.jsonl"'))
    out, _ = ran(capsys, "compare", name)
    assert "run\\x1b[31m\\u202e<i>" in out
    assert "/data/\\x1b[31m\\u202e.jsonl" in out
    page = Path("comparison.html").read_text(encoding="utf-8").split("</script>", 1)[1]
    assert not {"\x1b", "\u202e"} & set(page)
    assert "run\\x1b[31m\\u202e&lt;i&gt;" in page
    assert "\\\\u202e&lt;" not in page.replace("\\\\x1b[31m\\\\u202e", "")


def test_names_of_clients(capsys: pytest.CaptureFixture[str]) -> None:
    lines = [json.dumps({"client": f"\x1b[31mc{number}", "texts": ["a b"]}) + "\n" for number in range(20)]
    Path("small.jsonl").write_text("".join(lines) + '{"client": "\\u001b[31mc1", "texts": 3}\n')
    ran(capsys, "data", "describe", "--data.source", "small.jsonl", "--data.vocabulary", "2", code=2)


def test_unknown_words(trained: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def told(words: str) -> str:
        return ran(capsys, "predict", str(trained), words)[1]

    assert told("w1 w2") == ""
    some = "hashfed: some words are unknown to this run, which reads all such as the same: "
    assert told("w1 zebra w2 quagga zebra") == some + "zebra, quagga\n"
    every = "hashfed: every word is unknown to this run, which reads all such as the same: "
    assert told("zebra zebra") == every + "zebra\n"
    assert told("quagga zebra") == every + "quagga, zebra\n"
    assert told("") == "hashfed: no word in ''; this is how sentences begin\n"
    assert told(" \t") == "hashfed: no word in ' \\t'; this is how sentences begin\n"
    assert len(told(" ".join(f"zebra{number}" for number in range(5000)))) <= LONGEST_LINE + 1


def test_a_run_given_twice_is_shown_once(trained: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for package in ("jinja2", "plotly"):
        pytest.importorskip(package)
    shutil.copytree(trained, "a")
    Path("link").symlink_to("a")
    once, _ = ran(capsys, "compare", "a", "--output", "once.html")
    again = ["a", "./a", "a/", "link", str(Path("a").resolve()), "../" + Path.cwd().name + "/a"]
    out, _ = ran(capsys, "compare", *again, "--output", "again.html")
    assert out == once.replace("once.html", "again.html")
    assert Path("again.html").read_bytes() == Path("once.html").read_bytes()


def test_runs_of_the_same_name_are_told_apart(trained: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for package in ("jinja2", "plotly"):
        pytest.importorskip(package)
    for folder in ("x/run", "y/run", "other"):
        shutil.copytree(trained, folder)
    out, _ = ran(capsys, "compare", "x/run", "other", "y/run", "x/../x/run")
    names = [line.split()[0] for line in out.splitlines()[1:4]]
    assert names == ["x/run", "other", "y/run"]
    page = Path("comparison.html").read_text(encoding="utf-8")
    assert "x/run" in page
    assert "y/run" in page


def test_the_configuration_of_a_run_may_be_shown_to_commands(
    trained: Path, texts: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A run's own file is a configuration like any other."""
    path = str(trained / "config.yaml")
    out, _ = ran(capsys, "data", "describe", path)
    assert out == ran(capsys, "data", "describe", write(texts))[0]


def write(texts: Path) -> str:
    Path("small.yaml").write_text(small_config(texts).to_yaml())
    return "small.yaml"
