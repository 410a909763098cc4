import builtins
import json
import re
from pathlib import Path
from typing import Any

import pytest

from hashfed.cli.main import main
from hashfed.config import Config


@pytest.fixture
def run(trained: Path) -> Path:
    """The folder of a tiny trained run."""
    return trained


@pytest.fixture(autouse=True)
def in_an_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "60")


def refused(capsys: pytest.CaptureFixture[str], *arguments: object) -> str:
    """The one line of ``hashfed reproduce buckets`` with a mistake."""
    try:
        code: object = main(["reproduce", "buckets", *map(str, arguments)])
    except SystemExit as stop:
        code = stop.code
    assert code == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    return error.strip().removeprefix("hashfed: ")


def figures(page: str) -> list[dict[str, Any]]:
    found = re.findall(r'<script type="application/json">(.*?)</script>', page, re.DOTALL)
    return [json.loads(text) for text in found]


def with_words(run: Path, *first: str) -> Path:
    """A copy of the run whose most frequent words are these."""
    folder = Path("other")
    (folder / "checkpoint").mkdir(parents=True)
    for file in ("config.yaml", *(f"checkpoint/{item.name}" for item in (run / "checkpoint").iterdir())):
        (folder / file).write_bytes((run / file).read_bytes())
    words = json.loads((run / "vocabulary.json").read_text())
    (folder / "vocabulary.json").write_text(json.dumps([*first, *words[len(first) :]]))
    return folder


def test_a_trained_run(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("jinja2")
    pytest.importorskip("plotly")
    assert main(["reproduce", "buckets", str(run), "--bits", "3", "--json", "found/buckets.json"]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    read = json.loads(Path("found/buckets.json").read_text())
    assert read["words"] == sum(read["sizes"]) == 40
    assert 1 <= len(read["buckets"]) <= 6
    lines = out.splitlines()
    assert lines[0] == "40 words in 8 buckets (SimHash of centred rows, K = 3, seed 0)"
    assert all(len(line) <= 60 for line in lines[1:-1])
    for bucket in read["buckets"]:
        assert re.search(rf"^{bucket['bits']}  +{bucket['size']}  {bucket['words'][0]}\b", out, re.MULTILINE)
    assert f"page: {run / 'buckets.html'}" in lines
    page = (run / "buckets.html").read_text(encoding="utf-8")
    assert "sample buckets of tiny" in page
    plane, bars = figures(page)
    assert sum(len(trace["x"]) for trace in plane["data"] if trace["mode"] == "markers") == 40
    assert sum(sum(trace["y"]) for trace in bars["data"]) == 40
    assert "plotly" in page


def test_many_buckets_are_drawn_as_a_line(run: Path) -> None:
    pytest.importorskip("jinja2")
    pytest.importorskip("plotly")
    assert main(["reproduce", "buckets", str(run), "--bits", "12", "--output", "page.html"]) == 0
    _, line = figures(Path("page.html").read_text(encoding="utf-8"))
    assert line["data"][0]["mode"] == "lines"
    assert sum(line["data"][0]["y"]) == 40


def test_words_of_the_paper_are_marked(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("jinja2")
    pytest.importorskip("plotly")
    known = ("java", "python", "great", "change", "go")
    folder = with_words(run, *known)
    arguments = ["other", "--bits", "1", "--buckets", "2", "--words", "40", "--json", "found.json"]
    assert main(["reproduce", "buckets", *arguments]) == 0
    out = capsys.readouterr().out
    read = json.loads(Path("found.json").read_text())["paper"]
    assert [bucket["known"] for bucket in read["buckets"]] == [
        ["java", "python"],
        ["great"],
        ["change", "go"],
    ]
    lines = out.splitlines()
    assert all(len(line) <= 60 for line in lines[1:])
    assert sorted(re.findall(r"\w+[¹²³]", out)) == ["change³", "go³", "great²", "java¹", "python¹"]
    assert re.search(
        rf"^¹ java, python, ruby… +2 of 24 +{read['buckets'][0]['shared']:.2%}$", out, re.MULTILINE
    )
    assert re.search(r"^² problems, ways, issues… +1 of 23 +–$", out, re.MULTILINE)
    assert re.search(rf"^  any two words +{read['shared_of_any']:.2%}$", out, re.MULTILINE)
    counts = [f"{ours['number']}:{len(ours['words'])}" for ours in read["buckets"][2]["ours"]]
    assert f"³ {' '.join(counts)}" in lines
    page = (folder / "buckets.html").read_text(encoding="utf-8")
    marked = re.findall(r"<span>(\w+)<sup title=\"in the paper's bucket (\d)\">\2</sup></span>", page)
    assert sorted(marked) == [("change", "3"), ("go", "3"), ("great", "2"), ("java", "1"), ("python", "1")]
    assert "The vocabulary has 5 of the 78 words" in page
    assert "More bits make every share smaller" in page
    traces = figures(page)[0]["data"]
    marks = [text for trace in traces if trace["mode"] == "text" for text in trace["text"]]
    # Each of them once: by name as a label of its bucket, or as a number beside its point.
    numbers = {"¹": "1", "²": "2", "³": "3"}
    ends = [numbers.get(text[-1], text) for text in marks]
    assert sorted(end for end in ends if end in numbers.values()) == ["1", "1", "2", "3", "3"]
    hovered = [text for trace in traces for text, _ in trace.get("customdata", [])]
    assert {"java¹", "python¹", "great²", "change³", "go³"} < set(hovered)


def test_a_vocabulary_without_words_of_the_paper(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("jinja2")
    pytest.importorskip("plotly")
    assert main(["reproduce", "buckets", str(run), "--output", "page.html"]) == 0
    out = capsys.readouterr().out
    assert "The vocabulary has none of the 78 words" in out
    assert "share a bucket" not in out
    page = Path("page.html").read_text(encoding="utf-8")
    assert "The vocabulary has none of the 78 words" in page
    assert "<sup title" not in page
    assert "words of the paper's buckets, below" not in page
    assert "share our bucket" not in page


def test_words_are_escaped(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("jinja2")
    pytest.importorskip("plotly")
    hostile = "</script><i>%{x}"
    folder = with_words(run, hostile, "\x1b[2J", '"')
    assert main(["reproduce", "buckets", "other", "--near", hostile, "\x1b[2J", "--words", "40"]) == 0
    out = capsys.readouterr().out
    assert hostile in out
    assert "\x1b" not in out
    assert "\\x1b[2J" in out
    page = (folder / "buckets.html").read_text(encoding="utf-8")
    assert "<i>" not in page
    shown = [text for trace in figures(page)[0]["data"] for text, _ in trace.get("customdata", [])]
    assert "&lt;/script&gt;&lt;i&gt;%{x}" in shown
    assert '"' in shown


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--bits", "0"], "--bits = 0: must be from 1 to 16"),
        (["--bits", "17"], "--bits = 17: must be from 1 to 16"),
        (["--words", "0"], "--words = 0: must be at least 1"),
        (["--buckets", "0"], "--buckets = 0: must be at least 1"),
        (["--seed", "-1"], "--seed = -1: must be at least 0"),
        (["--near", "w0", "w1x"], "--near w1x: not in the vocabulary; did you mean w1 or "),
        (["--near"], "argument --near: expected at least one argument"),
        (["--wrods", "3"], "--wrods: no such option; did you mean --words?"),
    ],
)
def test_mistakes(run: Path, arguments: list[str], expected: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert refused(capsys, run, *arguments).startswith(expected)


def test_a_folder_that_is_no_run(capsys: pytest.CaptureFixture[str]) -> None:
    assert refused(capsys, "folder") == "folder: not a run (it has no config.yaml)"
    assert refused(capsys) == "the following arguments are required: RUN"


def test_a_run_without_a_checkpoint(capsys: pytest.CaptureFixture[str]) -> None:
    Path("run").mkdir()
    Path("run", "config.yaml").write_text(Config().to_yaml())
    assert refused(capsys, "run") == "run: has no checkpoint yet"


def test_a_vocabulary_of_another_run(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("run").mkdir()
    Path("run", "config.yaml").write_bytes((run / "config.yaml").read_bytes())
    Path("run", "vocabulary.json").write_text('["a"]')
    Path("run", "checkpoint").symlink_to(run / "checkpoint")
    line = refused(capsys, "run")
    assert line == (
        "run/vocabulary.json: names 5 rows, but config.yaml beside it says 44 (data.vocabulary); restore the "
        "file from a copy, or train in another folder (--output)"
    )


@pytest.mark.parametrize("option", ["--output", "--json"])
def test_an_output_that_cannot_be_written(run: Path, option: str, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("jinja2")
    pytest.importorskip("plotly")
    Path("file").write_text("x")
    assert refused(capsys, run, option, "file/inside") == "file/inside: cannot be written (Not a directory)"
    Path("folder").mkdir()
    assert refused(capsys, run, option, "folder").startswith("folder: cannot be written (")


def test_without_plotly(
    run: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    real = builtins.__import__

    def missing(name: str, *rest: Any, **more: Any) -> Any:
        if name.startswith("plotly"):
            raise ImportError(name)
        return real(name, *rest, **more)

    monkeypatch.setattr(builtins, "__import__", missing)
    line = refused(capsys, run, "--output", "page.html")
    assert line.startswith("hashfed reproduce buckets: needs the packages plotly and jinja2")
    assert not Path("page.html").exists()
