import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from hashfed import HashfedError, Interrupted, RunFolder, train
from hashfed.cli.main import main
from hashfed.config import Config
from hashfed.runs.predict import likeliest
from hashfed.runs.train import Silent
from hashfed.yaml_text import read_yaml
from small import PATIENCE, small_config, small_data, write_quoted


def files(folder: Path) -> dict[str, bytes]:
    """What must not depend on how often the run was interrupted."""
    latest = json.loads((folder / "checkpoint" / "latest.json").read_text())
    names = ["metrics.jsonl", "vocabulary.json", "data.json", f"checkpoint/{latest['file']}"]
    found = {name: (folder / name).read_bytes() for name in names}
    summary = json.loads((folder / "summary.json").read_text())
    found["evaluation"] = json.dumps(summary["evaluation"]).encode()
    return found


def in_folder(config: Config, folder: Path, **changes: Any) -> Config:
    return config.model_copy(update={"output": str(folder), **changes})


@pytest.mark.usefixtures("probed")
def test_a_run_leaves_its_files(texts: Path, tmp_path: Path) -> None:
    config = in_folder(small_config(texts), tmp_path / "run")
    summary = train(config)
    lines = RunFolder(tmp_path / "run").lines("metrics.jsonl")
    assert [line["round"] for line in lines] == [1, 2, 3, 4]
    assert ["evaluation" in line for line in lines] == [False, True, False, True]
    assert RunFolder(tmp_path / "run").config() == config
    assert summary["rounds"] == 4
    assert set(summary["device"]["bytes"]) == {"declare", "welcome", "keys", "rows", "update"}
    assert summary["device"]["memory_peak"] > summary["device"]["memory_baseline"]
    assert summary["evaluation"] == lines[-1]["evaluation"]


def test_the_same_command_on_a_finished_run_changes_nothing(texts: Path, tmp_path: Path) -> None:
    config = in_folder(small_config(texts), tmp_path)
    first = train(config)
    before = files(tmp_path)
    assert train(config) == first
    assert files(tmp_path) == before


def test_more_rounds_continue_a_finished_run(texts: Path, tmp_path: Path) -> None:
    config = small_config(texts)
    train(in_folder(config, tmp_path / "parts", rounds=2))
    train(in_folder(config, tmp_path / "parts"))
    train(in_folder(config, tmp_path / "whole"))
    assert files(tmp_path / "parts") == files(tmp_path / "whole")


@pytest.mark.parametrize("every", [1, 3])
def test_a_stop_after_any_round_and_a_resume_equal_the_whole_run(
    texts: Path, tmp_path: Path, every: int
) -> None:
    config = small_config(texts, checkpoint_every=every, server={"row_average": "fedsubavg"})
    train(in_folder(config, tmp_path / "whole"))

    class Stop(Silent):
        def round(self, metrics: dict[str, Any]) -> None:
            os.kill(os.getpid(), signal.SIGINT)

    for _ in range(3):
        with pytest.raises(Interrupted):
            train(in_folder(config, tmp_path / "parts"), Stop())
    train(in_folder(config, tmp_path / "parts"))
    assert files(tmp_path / "parts") == files(tmp_path / "whole")


def command(config: Config, folder: Path) -> list[str]:
    path = folder.with_suffix(".yaml")
    path.write_text(config.to_yaml())
    return [sys.executable, "-m", "hashfed", "train", str(path), "--output", str(folder)]


def test_a_killed_run_resumes_bit_for_bit(texts: Path, tmp_path: Path) -> None:
    """SIGKILL at random moments, until it is done; workers must end by themselves."""
    config = small_config(texts, rounds=40, workers=2, evaluation={"every": 10}, checkpoint_every=1)
    train(in_folder(config, tmp_path / "whole", workers=1))
    folder = tmp_path / "killed"
    rng = random.Random()  # the moments differ from run to run; the result must not
    codes = []
    for after in ("launch", "launch", "line", "line"):
        process = subprocess.Popen(
            command(config, folder), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        done = len(RunFolder(folder).lines("metrics.jsonl"))
        deadline = time.monotonic() + PATIENCE
        while after == "line" and process.poll() is None and time.monotonic() < deadline:
            if len(RunFolder(folder).lines("metrics.jsonl")) > done:
                break
            time.sleep(0.01)
        time.sleep(rng.random() * (4 if after == "launch" else 0.3))
        process.send_signal(signal.SIGKILL)
        codes.append(process.wait())
    assert -signal.SIGKILL in codes
    train(in_folder(config, folder))
    assert files(folder) == files(tmp_path / "whole")


def test_ctrl_c_saves_and_says_how_to_go_on(texts: Path, tmp_path: Path) -> None:
    config = small_config(texts, rounds=10_000, workers=2, checkpoint_every=10_000)
    folder = tmp_path / "run"
    process = subprocess.Popen(command(config, folder), stderr=subprocess.PIPE, text=True)
    while len(RunFolder(folder).lines("metrics.jsonl")) < 3:
        assert process.poll() is None
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    _, error = process.communicate(timeout=PATIENCE)
    assert process.returncode == 130
    assert error.splitlines()[-1] == "hashfed: stopped and saved; the same command goes on from here"
    assert "Traceback" not in error
    latest = json.loads((folder / "checkpoint" / "latest.json").read_text())
    assert latest["round"] == len(RunFolder(folder).lines("metrics.jsonl")) >= 3


def test_a_run_folder_of_another_configuration_is_refused(texts: Path, tmp_path: Path) -> None:
    config = small_config(texts, rounds=1)
    train(in_folder(config, tmp_path))
    before = files(tmp_path)
    other = small_config(texts, rounds=1, client={"learning_rate": 0.07})
    with pytest.raises(HashfedError, match=r"client.learning_rate is 0.3 there, 0.07 here"):
        train(in_folder(other, tmp_path))
    assert files(tmp_path) == before


def test_a_folder_with_other_things_is_left_alone(texts: Path, tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(HashfedError, match="not empty, and not a run that hashfed began"):
        train(in_folder(small_config(texts), tmp_path))
    assert (tmp_path / "thesis.tex").read_text() == "years of work"


def test_a_run_in_use_is_refused(texts: Path, tmp_path: Path) -> None:
    config = in_folder(small_config(texts), tmp_path)
    holder = RunFolder(tmp_path)
    holder.open(config, {"sha256": ""})
    with pytest.raises(HashfedError, match="another process is working on this run"):
        train(config)
    holder.close()


def test_a_half_written_last_line_is_forgotten_on_resume(texts: Path, tmp_path: Path) -> None:
    config = small_config(texts)
    train(in_folder(config, tmp_path / "whole"))
    train(in_folder(config, tmp_path / "cut", rounds=2))
    with (tmp_path / "cut" / "metrics.jsonl").open("a") as file:
        file.write('{"round": 3, "train_l')
    train(in_folder(config, tmp_path / "cut"))
    assert files(tmp_path / "cut") == files(tmp_path / "whole")


def test_a_disk_that_fills_up_keeps_the_run(texts: Path, tmp_path: Path, monkeypatch: Any) -> None:
    config = small_config(texts, checkpoint_every=1)
    train(in_folder(config, tmp_path / "whole"))
    real, calls = os.fsync, 0

    def full_after_a_while(descriptor: int) -> None:
        nonlocal calls
        calls += 1
        if calls > 14:
            raise OSError(28, "No space left on device")
        real(descriptor)

    monkeypatch.setattr("os.fsync", full_after_a_while)
    with pytest.raises(HashfedError, match=r"cannot be written .No space left on device"):
        train(in_folder(config, tmp_path / "full"))
    monkeypatch.undo()
    assert RunFolder(tmp_path / "full").lines("metrics.jsonl")
    train(in_folder(config, tmp_path / "full"))
    assert files(tmp_path / "full") == files(tmp_path / "whole")


def test_tensorboard_events(texts: Path, tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    train(in_folder(small_config(texts, tensorboard=True), tmp_path))
    events = EventAccumulator(str(tmp_path / "events"))
    events.Reload()
    lines = RunFolder(tmp_path).lines("metrics.jsonl")
    found = [event.value for event in events.Scalars("train/train_loss")]
    assert found == pytest.approx([line["train_loss"] for line in lines], rel=1e-6)


def test_predictions_are_probabilities_in_falling_order(texts: Path, tmp_path: Path) -> None:
    config = small_config(texts, rounds=60, retrieval={"method": "full"}, server={"learning_rate": 0.03})
    train(in_folder(config, tmp_path))
    found = likeliest(RunFolder(tmp_path), ["w2 W3"], 10)[0]
    values = [value for _, value in found]
    assert values == sorted(values, reverse=True)
    assert 0 < sum(values) <= 1
    assert len({word for word, _ in found}) == 10
    # In these texts w4 follows w3 in seven cases of ten.
    assert found[0][0] == "w4"


@pytest.mark.parametrize("selection", [{"budget": 0.6}, {"extra": 4}, {"extra": 0, "correction": "tail"}])
def test_the_budget_of_a_run_is_the_rows_that_its_clients_held(
    selection: dict[str, object], texts: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys.modules["hashfed.runs.train"], "measure_device_memory", lambda *_: {})
    config = in_folder(small_config(texts, rounds=2, selection=selection), tmp_path)
    summary = train(config)
    share = summary["device"]["rows"] / small_data(texts).size
    if "extra" in selection:
        assert summary["budget"] == share < 1
    else:
        # A client whose data need more holds more.
        assert summary["budget"] == 26 / 44
        assert summary["budget"] <= share


def test_yaml_of_a_run_is_the_configuration(texts: Path, tmp_path: Path) -> None:
    config = in_folder(small_config(texts, rounds=1), tmp_path)
    train(config)
    tree = read_yaml((tmp_path / "config.yaml").read_text())
    assert tree["selection"]["budget"] == 0.6


def test_a_refused_start_leaves_the_folder_free(texts: Path, tmp_path: Path) -> None:
    with pytest.raises(HashfedError, match="cohort = 500"):
        train(in_folder(small_config(texts, cohort=500), tmp_path))
    assert [item.name for item in tmp_path.iterdir()] == [".lock"]
    RunFolder(tmp_path).open(small_config(texts), {"sha256": ""})


def test_a_run_without_a_checkpoint_may_begin_with_other_settings(texts: Path, tmp_path: Path) -> None:
    (tmp_path / ".lock").touch()
    (tmp_path / "config.yaml").write_text(small_config(texts, seed=5).to_yaml())
    RunFolder(tmp_path).open(small_config(texts, seed=6), {"sha256": ""})


def test_a_configuration_of_ones_own_is_not_taken_for_a_run(texts: Path, tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text("# mine\n")
    with pytest.raises(HashfedError, match="not a run that hashfed began"):
        train(in_folder(small_config(texts), tmp_path))
    assert (tmp_path / "config.yaml").read_text() == "# mine\n"


def test_a_run_whose_texts_have_changed_is_refused(texts: Path, tmp_path: Path) -> None:
    copy = tmp_path / "texts.jsonl"
    copy.write_text(texts.read_text())
    config = in_folder(small_config(copy, rounds=1), tmp_path / "run")
    train(config)
    before = files(tmp_path / "run")
    with copy.open("a") as file:
        file.write('{"client": "new", "texts": ["w9 w9 w9 w9 w9"]}\n')
    with pytest.raises(HashfedError, match="have changed since this run began"):
        train(config)
    assert files(tmp_path / "run") == before


def test_a_run_goes_on_with_its_own_tokenizer_alone(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "run"
    source = write_quoted(tmp_path / "quoted.jsonl")
    data = {"vocabulary": 19, "tokenizer": "ascii"}
    whole = in_folder(small_config(source, data=data), tmp_path / "whole")
    train(whole)
    train(in_folder(small_config(source, data=data, rounds=2), folder))
    before = files(folder)

    assert "'w0'" in RunFolder(folder).names().words
    settings = tmp_path / "settings.yaml"
    # Of the new words there are fewer: the tokenizer must be named before they are counted.
    settings.write_text(small_config(source, data={"vocabulary": 19}, output=str(folder)).to_yaml())
    assert main(["train", str(settings)]) == 2
    error = capsys.readouterr().err.splitlines()[-1]
    assert "data.tokenizer is 'ascii' there, 'unicode' here" in error
    assert "--data.tokenizer ascii goes on with it" in error
    assert files(folder) == before
    assert main(["train", str(settings), "--data.tokenizer", "ascii"]) == 0
    assert files(folder) == files(tmp_path / "whole")


def test_words_are_predicted_as_the_run_was_trained(tmp_path: Path) -> None:
    source = write_quoted(tmp_path / "quoted.jsonl")
    found = {}
    for name in ("ascii", "unicode"):
        data = {"vocabulary": 12, "tokenizer": name}
        train(in_folder(small_config(source, data=data, rounds=1), tmp_path / name))
        run = RunFolder(tmp_path / name)
        found[name] = [likeliest(run, [text], 3)[0] for text in ("it's", "it’s", "cafe\u0301 it’s")]
    assert found["unicode"][0] == found["unicode"][1]
    assert found["ascii"][0] != found["ascii"][1]
    words = RunFolder(tmp_path / "unicode").names().words
    assert {"it's", "café", "naïve", "w1"} <= set(words)


def test_a_lost_checkpoint_does_not_leave_an_old_summary(texts: Path, tmp_path: Path) -> None:
    config = in_folder(small_config(texts, rounds=1), tmp_path)
    first = train(config)
    shutil.rmtree(tmp_path / "checkpoint")
    assert train(in_folder(small_config(texts, rounds=1, seed=9), tmp_path)) != first


@pytest.mark.parametrize(
    ("delivery", "kinds"),
    [
        ("on-demand", {"declare", "welcome", "keys", "rows", "update"}),
        ("broadcast", {"broadcast", "update"}),
        ("pre-generated", {"manifest", "slices", "update"}),
    ],
)
def test_a_run_for_each_delivery(
    texts: Path,
    tmp_path: Path,
    delivery: str,
    kinds: set[str],
    capsys: pytest.CaptureFixture[str],
    request: pytest.FixtureRequest,
) -> None:
    """On the command line, to the end: the model is the same, the bytes are those of the delivery."""
    config = tmp_path / "small.yaml"
    config.write_text(small_config(texts, retrieval={"method": "simhash-collisions"}).to_yaml())
    for name, value in (("one", "on-demand"), ("other", delivery)):
        if name == "other":
            request.getfixturevalue("probed")
        options = ["--selection.delivery", value, "--output", str(tmp_path / name)]
        assert main(["train", str(config), *options]) == 0
    one, other = (json.loads((tmp_path / name / "summary.json").read_text()) for name in ("one", "other"))
    assert other["evaluation"] == one["evaluation"]
    device = other["device"]
    assert set(device["bytes"]) == kinds
    assert device["bytes_down"] + device["bytes_up"] == pytest.approx(sum(device["bytes"].values()))
    assert device["memory_peak"] > device["memory_baseline"]
    page = tmp_path / "page.html"
    folders = [str(tmp_path / "one"), str(tmp_path / "other")]
    assert main(["compare", *folders, "--output", str(page)]) == 0
    assert f"{device['bytes_down'] / 1e6:.2f}" in capsys.readouterr().out
    # A column for each kind of message that either run sent.
    shown = {"declare", "welcome", "keys", "rows", "update"} | kinds
    assert f'<th colspan="{len(shown)}" scope="colgroup"' in page.read_text()
    assert all(f'<th scope="col">{kind}\u00a0' in page.read_text() for kind in shown)


def test_a_run_of_an_earlier_version_with_settings_of_all_methods_is_refused(
    texts: Path, tmp_path: Path
) -> None:
    config = small_config(texts, rounds=1, output=str(tmp_path / "run"))
    train(config)
    path = tmp_path / "run" / "config.yaml"
    before = path.read_text()
    path.write_text(before.replace("  code_bits: 8\n", "  code_bits: 8\n  tables: 64\n"))
    with pytest.raises(HashfedError) as caught:
        train(config.model_copy(update={"rounds": 2}))
    text = f"{path}: retrieval.tables = 64: not a setting of retrieval.method = query-centroids (allowed: "
    assert str(caught.value).startswith(text)
    assert "train in another folder (--output)" in str(caught.value)
