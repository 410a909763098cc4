"""Whatever a line of metrics.jsonl holds, those who read it go on."""

import json
import math
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest.mock import MagicMock

import pytest
from flwr.app import Message

from hashfed.cli.train import ProgressBar
from hashfed.config import Config
from hashfed.engines.flower.client_app import app
from hashfed.engines.flower.rounds import FlowerRounds
from hashfed.errors import HashfedError
from hashfed.report import write_page
from hashfed.report.results import read_result
from hashfed.runs import RunFolder, flower_server
from hashfed.runs.events import Events, scalars, texts
from hashfed.runs.flower_server import LoggedProgress
from hashfed.runs.train import train
from hashfed.tasks.federated_data import FederatedData
from hashfed.tasks.next_word.prepared import cache
from hashfed.tasks.next_word.presentation import PRESENTATION
from hashfed.tasks.next_word.vocabulary import Vocabulary
from loopback import LoopbackGrid, partitions
from small import prepare, small_config

LINE: dict[str, Any] = {
    "round": 3,
    "train_loss": math.nan,
    "clients": 2,
    "flops": 2**62,
    "bytes": {"rows": 5, "update": 7},
    "clipped": 1,
    "wire_bytes": {"down": 1, "up": 2},
    "failed": {"ann": "no answer to train within 5 s", "a/b": "gone"},
}
ODD = LINE | {"nothing": None, "deep": {"er": {"still": 4}}, "list": [1, 2], "text": "why", "yes": True}


def test_numbers_and_texts_of_a_line() -> None:
    found = scalars(ODD)
    assert math.isnan(found.pop("train/train_loss"))
    assert found == {
        "train/clients": 2.0,
        "train/flops": 2.0**62,
        "bytes/rows": 5.0,
        "bytes/update": 7.0,
        "train/clipped": 1.0,
        "wire_bytes/down": 1.0,
        "wire_bytes/up": 2.0,
        "train/failed": 2.0,
        "deep/er/still": 4.0,
        "train/yes": 1.0,
    }
    assert texts(ODD) == {
        "failed": "    ann: no answer to train within 5 s\n    a/b: gone",
        "train": "    text: why",
    }


@pytest.mark.parametrize("line", [LINE, ODD, {"round": 1}, {"round": 1, "failed": {}, "evaluation": {}}])
def test_tensorboard_holds_what_it_can(tmp_path: Path, line: dict[str, Any]) -> None:
    pytest.importorskip("tensorboard")
    events = Events(tmp_path, 0)
    events.write(line)
    events.close()
    assert list((tmp_path / "events").iterdir())


def test_a_full_disk_is_no_traceback(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("tensorboard")
    events = Events(tmp_path, 0)

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(events._writer, "add_scalar", full)
    with pytest.raises(HashfedError, match=r"events: cannot be written \(No space left on device\)"):
        events.write(LINE)


@pytest.mark.parametrize("line", [LINE, LINE | {"evaluation": {"accuracy": 0.1, "nll": math.nan}}])
def test_progress_of_lines_of_a_network(line: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []
    monkeypatch.setattr(flower_server, "say", said.append)
    for progress in (LoggedProgress(PRESENTATION.main), ProgressBar(PRESENTATION.main)):
        progress.start(0, 4)
        progress.round(line)
        progress.finish()
    assert said[1].startswith("round 3 of 4: 2 clients, 2 failed, training loss nan")


def test_the_log_of_a_network_says_how_far_a_large_source_is_prepared(
    texts: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[str] = []

    def only_load(config: Config, progress: object, engine: object, load: Callable[[Config], object]) -> None:
        load(config)

    monkeypatch.setattr(cache, "LARGE", 10)
    monkeypatch.setenv(cache.VARIABLE, str(tmp_path / "cache"))
    monkeypatch.setattr(flower_server, "config_of", lambda _: small_config(texts))
    monkeypatch.setattr(flower_server, "train", only_load)
    monkeypatch.setattr(flower_server, "say", said.append)
    flower_server.main(MagicMock(), MagicMock())
    assert "prepared once, in " in said[0]
    kinds = [line.partition(": ")[0] for line in said[1:-1]]
    assert kinds == ["preparing the data (write)"]


def test_a_network_run_with_a_client_that_fails(
    texts: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """To its end, with events of what failed, and a page of it."""
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    probe = {"memory_baseline": 100, "memory_peak": 200}
    monkeypatch.setattr(sys.modules["hashfed.runs.train"], "measure_device_memory", lambda *_: probe)
    config, _ = prepare(texts, evaluation="clients")
    output = tmp_path / "run"
    config = config.model_copy(
        update={
            "rounds": 3,
            "tensorboard": True,
            "output": str(output),
            "server": config.server.model_copy(update={"clip": 0.05}),
        }
    )
    silent = {"train": 1, "evaluate": 2}

    def interrupt(node: int, message: Message) -> None:
        """Node 2 does not train in round 1, and nobody evaluates after round 2."""
        kind, request = message.metadata.message_type, message.content.config_records["request"]
        if silent.get(kind) == request["round"] and (node == 2 or kind == "evaluate"):
            raise RuntimeError("no memory")

    def engine(config: Config, data: FederatedData[Vocabulary], stop: Callable[[], bool]) -> FlowerRounds:
        return FlowerRounds(LoopbackGrid(app, partitions(texts), interrupt=interrupt), config, data)

    train(config, LoggedProgress(PRESENTATION.main), engine)
    lines = [json.loads(line) for line in (output / "metrics.jsonl").read_text().splitlines()]
    failed = lines[0]["failed"]
    assert failed
    assert all({"clipped", "wire_bytes"} <= set(line) for line in lines)
    assert ["evaluation" in line for line in lines] == [False, False, True]
    events = EventAccumulator(str(output / "events"))
    events.Reload()
    assert [(event.step, event.value) for event in events.Scalars("train/failed")] == [(1, len(failed))]
    assert len(events.Scalars("train/train_loss")) == len(events.Scalars("wire_bytes/up")) == 3
    (event,) = events.Tensors("failed/text_summary")
    text = event.tensor_proto.string_val[0].decode()
    assert all(f"{name}: {reason}" in text for name, reason in failed.items())
    assert read_result(RunFolder(output)).lines == lines
    pytest.importorskip("jinja2")
    pytest.importorskip("plotly")
    write_page([RunFolder(output)], tmp_path / "page.html")
    assert (tmp_path / "page.html").stat().st_size > 0
