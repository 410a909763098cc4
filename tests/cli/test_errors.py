import json
import re
from pathlib import Path

import pytest

from hashfed.cli.main import main
from hashfed.config import Config, make_config, setting_fields

SETTINGS = [name for name, _ in setting_fields()]


@pytest.fixture(autouse=True)
def in_an_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def mistake(capsys: pytest.CaptureFixture[str]) -> "Mistake":
    return Mistake(capsys)


class Mistake:
    """Runs a command that must fail, and gives the line it prints."""

    def __init__(self, capsys: pytest.CaptureFixture[str]) -> None:
        self.capsys = capsys

    def __call__(self, *arguments: str, started: bool = False) -> str:
        """``started``: the command got as far as telling the run's folder."""
        try:
            code: object = main(arguments)
        except SystemExit as stop:
            code = stop.code
        out, err = self.capsys.readouterr()
        assert code == 2
        assert out == ""
        assert "Traceback" not in err
        *before, line = err.splitlines()
        assert [text.startswith("run folder: ") for text in before] == [True] * started
        assert line.startswith("hashfed: ")
        assert err.endswith("\n")
        return line.removeprefix("hashfed: ")


def write_yaml(text: str) -> str:
    Path("run.yaml").write_text(text)
    return "run.yaml"


def small_data(extra: str = "") -> list[str]:
    """Options for a source with two distinct words, and clients on both sides of the split."""
    lines = [json.dumps({"client": f"c{number}", "texts": ["a b"]}) + "\n" for number in range(20)]
    Path("small.jsonl").write_text("".join(lines) + extra)
    return ["--data.source", "small.jsonl", "--output", "run", "--workers", "1"]


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (
            ["train", "--selection.budgt", "0.5"],
            "--selection.budgt: no such option; did you mean --selection.budget?",
        ),
        (
            ["train", "--selection.budgt=0.5"],
            "--selection.budgt=0.5: no such option; did you mean --selection.budget?",
        ),
        (["train", "--qqq", "1"], "--qqq: no such option (see hashfed train --help)"),
        (["data", "describe", "--sed", "1"], "--sed: no such option; did you mean --seed?"),
        (["compare", "run", "--outptu", "x"], "--outptu: no such option; did you mean --output?"),
        (["predict", "run", "hi", "--tpo", "3"], "--tpo: no such option; did you mean --top?"),
        (["train", "--selection.bud", "0.5"], "--selection.bud: no such option"),
        (
            ["train", "--client.sentences", "8"],
            "--client.sentences: no such option; it is --client.examples now",
        ),
        (
            ["train", "--evaluation.sentences=none"],
            "--evaluation.sentences=none: no such option; it is --evaluation.examples now",
        ),
    ],
)
def test_an_unknown_option(arguments: list[str], expected: str, mistake: Mistake) -> None:
    assert mistake(*arguments).startswith(expected)


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ([], "the following arguments are required: COMMAND"),
        (["data"], "the following arguments are required: COMMAND"),
        (["trian"], "argument COMMAND: invalid choice: 'trian' (choose from"),
        (["train", "--seed"], "argument --seed: expected one argument"),
        (["compare"], "the following arguments are required: RUN"),
        (["predict", "run"], "the following arguments are required: WORDS"),
        (
            ["predict", "run", "hi", "--top", "few"],
            "argument --top: 'few': must be a whole number, such as 3",
        ),
    ],
)
def test_a_command_that_is_not_complete(arguments: list[str], expected: str, mistake: Mistake) -> None:
    assert mistake(*arguments).startswith(expected)


@pytest.mark.parametrize(
    ("option", "value", "expected"),
    [
        ("selection.budget", "2", "selection.budget = 2: "),
        ("selection.budget", "-1", "selection.budget = -1: "),
        ("selection.budget", "much", "selection.budget = 'much': "),
        ("retrieval.centroids", "5000", "retrieval.centroids = 5000: "),
        ("retrieval.bits", "8", "retrieval.bits = 8: not a setting of retrieval.method = query-centroids ("),
        ("retrieval.method", "lsh", "retrieval.method = 'lsh': "),
        ("model.heads", "7", "model.heads = 7: must divide model.attention = 96"),
        ("rounds", "0", "rounds = 0: "),
    ],
)
@pytest.mark.parametrize("command", [["train"], ["data", "describe"]])
def test_a_wrong_value(command: list[str], option: str, value: str, expected: str, mistake: Mistake) -> None:
    assert mistake(*command, f"--{option}", value).startswith(expected)


@pytest.mark.parametrize("command", [["train"], ["data", "describe"]])
def test_an_unknown_setting_in_a_file(command: list[str], mistake: Mistake) -> None:
    path = write_yaml("selection:\n  budgt: 0.1\n")
    assert mistake(*command, path) == (
        "run.yaml: selection.budgt: no such setting; did you mean selection.budget?"
    )


@pytest.mark.parametrize("text", ["- 1\n", "rounds: [1\n", "rounds: 0\n"])
def test_a_file_that_is_no_configuration(text: str, mistake: Mistake) -> None:
    assert mistake("train", write_yaml(text)).startswith("run.yaml: ")


def test_a_missing_configuration(mistake: Mistake) -> None:
    assert mistake("train", "none.yaml") == "none.yaml: No such file or directory"


def test_a_missing_source(mistake: Mistake) -> None:
    line = mistake("train", "--data.source", "none.jsonl", "--output", "run", started=True)
    assert line == "data.source = none.jsonl: no such file or folder, nor one of: chitchat"
    assert not Path("run").exists()


def test_a_vocabulary_larger_than_the_data(mistake: Mistake) -> None:
    line = mistake("train", *small_data(), "--data.vocabulary", "3", started=True)
    assert line == "data.vocabulary = 3: the training clients have only 2 distinct words"
    assert not Path("run").exists()
    assert mistake("data", "describe", *small_data(), "--data.vocabulary", "3") == line


def test_a_cohort_larger_than_the_data(mistake: Mistake) -> None:
    line = mistake("train", *small_data(), "--data.vocabulary", "2", "--cohort", "21", started=True)
    assert line == "cohort = 21: must be at most the number of training clients, 14"
    assert not Path("run", "config.yaml").exists()


def test_a_malformed_line_of_the_data(mistake: Mistake) -> None:
    line = mistake("train", *small_data(extra='{"client": "c", \n'), started=True)
    assert line.startswith("small.jsonl, line 21: not JSON (")
    assert not Path("run").exists()


def test_an_output_folder_that_is_no_run(mistake: Mistake) -> None:
    Path("run").mkdir()
    Path("run", "thesis.txt").write_text("years of work")
    options = [*small_data(), "--data.vocabulary", "2", "--cohort", "4"]
    line = mistake("train", *options, started=True)
    assert line == "output = run: not empty, and not a run that hashfed began there"
    assert Path("run", "thesis.txt").read_text() == "years of work"
    assert not Path("run", "config.yaml").exists()


def test_an_output_folder_with_another_run(mistake: Mistake) -> None:
    Path("run", "checkpoint").mkdir(parents=True)
    Path("run", "checkpoint", "latest.json").write_text("{}")
    saved = Config().to_yaml()
    Path("run", "config.yaml").write_text(saved)
    options = [*small_data(), "--data.vocabulary", "2", "--cohort", "4"]
    line = mistake("train", *options, started=True)
    assert line == (
        "output = run: holds a run of another configuration (data.source is 'chitchat' there, 'small.jsonl' "
        "here and 2 more); choose another --output, or delete that folder"
    )
    assert Path("run", "config.yaml").read_text() == saved


def test_an_output_that_is_a_file(mistake: Mistake) -> None:
    Path("run").write_text("x")
    options = [*small_data(), "--data.vocabulary", "2", "--cohort", "4"]
    assert mistake("train", *options, started=True) == "output = run: File exists"


@pytest.mark.parametrize("command", [["predict", "folder", "how are"], ["compare", "folder"]])
@pytest.mark.parametrize("exists", [True, False])
def test_a_folder_that_is_no_run(command: list[str], exists: bool, mistake: Mistake) -> None:
    if exists:
        Path("folder").mkdir()
    assert mistake(*command) == "folder: not a run (it has no config.yaml)"
    assert not Path("comparison.html").exists()


@pytest.mark.parametrize("command", [["predict", "run", "how are"], ["compare", "run"]])
def test_a_run_of_a_version_with_other_settings(command: list[str], mistake: Mistake) -> None:
    Path("run").mkdir()
    saved = Config().to_yaml()
    old = saved.replace("  examples: 64\n", "  sentences: 64\n")
    assert old != saved
    Path("run", "config.yaml").write_text(old)
    assert mistake(*command).startswith(
        "run/config.yaml: client.sentences: no such setting; it is client.examples now; "
    )
    assert Path("run", "config.yaml").read_text() == old


def test_a_run_that_has_only_begun(mistake: Mistake) -> None:
    Path("run").mkdir()
    Path("run", "config.yaml").write_text(make_config({"data": {"vocabulary": 2}}).to_yaml())
    assert mistake("compare", "run") == (
        "run: not finished (0 of 200 rounds); the command that began it, hashfed train or hashfed serve, "
        "goes on from there"
    )
    assert mistake("predict", "run", "how are").startswith("run/vocabulary.json: no readable names of rows")
    Path("run", "vocabulary.json").write_text('["a", "b"]')
    assert mistake("predict", "run", "how are", "--top", "2") == "run: has no checkpoint yet"
    assert mistake("predict", "run", "how are", "--top", "3") == "--top = 3: must be from 1 to 2"


@pytest.mark.parametrize("command", [["train"], ["data", "describe"]])
def test_help_lists_every_setting(command: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        main([*command, "--help"])
    assert stop.value.code == 0
    out, err = capsys.readouterr()
    assert err == ""
    listed = re.findall(r"^\s+--([a-z0-9_.]+) [A-Z0-9_]+", out, re.MULTILINE)
    assert sorted(listed) == sorted(SETTINGS)
    text = " ".join(out.split())
    for default in ("[default 0.1; > 0 and ≤ 1]", "[default none]", "[default chitchat]"):
        assert default in text
    assert "One of: full, all rows; random, uniformly drawn rows; frequency, the most frequent" in text
    assert "rows ranked by SimHash collisions [default query-centroids]" in text
    # Settings of some methods say of which.
    assert (
        "L, number of hash tables. [default 64; ≥ 1 and ≤ 8192] (simhash-union, simhash-collisions)" in text
    )
    assert "[default float32; float32, bfloat16] (all but full)" in text


@pytest.mark.parametrize("command", ["compare", "predict", "data", "serve", "join", "certificates"])
def test_every_command_has_help(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        main([command, "--help"])
    assert stop.value.code == 0
    assert capsys.readouterr().out.startswith(f"usage: hashfed {command} ")


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        main(["--version"])
    assert stop.value.code == 0
    assert re.fullmatch(r"hashfed \d+\.\d+\.\d+\n", capsys.readouterr().out)
