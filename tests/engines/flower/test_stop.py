"""A run that Flower stops keeps its finished rounds."""

import signal
import threading
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import httpx
import pytest
from flwr.app import Message
from flwr.supercore.run import RunNotRunningException

from hashfed import Interrupted, RunFolder, train
from hashfed.config import Config
from hashfed.engines.flower.client_app import app
from hashfed.engines.network.exchanges import EVALUATE
from hashfed.runs.flower_server import StoppableRounds
from hashfed.runs.train import Silent
from hashfed.tasks.federated_data import FederatedData
from hashfed.tasks.next_word.vocabulary import Vocabulary
from loopback import LoopbackGrid, partitions
from small import small_config, small_data


class StoppedGrid(LoopbackGrid):
    """One whose SuperLink stops the run as soon as ``ends`` is set."""

    ends: BaseException | None = None
    hangs = False

    def push_messages(self, messages: Iterable[Message]) -> Iterable[str]:
        if self.hangs:
            signal.raise_signal(signal.SIGTERM)  # to the main thread, which waits for this one
            threading.Event().wait()
        if self.ends is not None:
            raise self.ends
        return super().push_messages(messages)


@pytest.mark.parametrize("how", ["refuses", "hangs", "fails"])
def test_finished_rounds_are_saved(how: str, texts: Path, tmp_path: Path) -> None:
    clients = len(small_data(texts).train)
    config = small_config(texts, rounds=9, checkpoint_every=100, flower={"clients": clients})
    config = config.model_copy(update={"output": str(tmp_path)})
    grid = StoppedGrid(app, partitions(texts))

    class StopAfterTwo(Silent):
        def round(self, metrics: dict[str, Any]) -> None:
            if metrics["round"] == 2:
                if how == "fails":  # as every request does once the SuperLink has ended
                    signal.raise_signal(signal.SIGTERM)
                grid.hangs = how == "hangs"
                grid.ends = RunNotRunningException() if how == "refuses" else httpx.ConnectError("gone")

    def engine(config: Config, data: FederatedData[Vocabulary], stop: Any) -> StoppableRounds:
        return StoppableRounds(grid, config, data, stop)

    with pytest.raises(Interrupted):
        train(config, StopAfterTwo(), engine)
    folder = RunFolder(tmp_path)
    assert [line["round"] for line in folder.lines("metrics.jsonl")] == [1, 2]
    assert folder.read_json("checkpoint/latest.json")["round"] == 2
    assert folder.wait_until_free(0)


@pytest.mark.parametrize("how", ["refuses", "signal"])
def test_a_stop_while_nodes_evaluate_keeps_the_round_before_it(how: str, texts: Path, tmp_path: Path) -> None:
    flower = {"clients": len(small_data(texts).train), "evaluation": "clients"}
    config = small_config(texts, rounds=9, checkpoint_every=100, evaluation={"every": 2}, flower=flower)
    config = config.model_copy(update={"output": str(tmp_path)})

    class StoppedInEvaluation(LoopbackGrid):
        stopped = False

        def push_messages(self, messages: Iterable[Message]) -> Iterable[str]:
            messages = list(messages)
            if any(EVALUATE in message.metadata.message_type for message in messages):
                self.stopped = True
                if how == "signal":
                    signal.raise_signal(signal.SIGTERM)
            if self.stopped and how == "refuses":
                raise RunNotRunningException
            return super().push_messages(messages)

    grid = StoppedInEvaluation(app, partitions(texts))
    with pytest.raises(Interrupted):
        train(config, None, lambda config, data, stop: StoppableRounds(grid, config, data, stop))
    folder = RunFolder(tmp_path)
    assert [("evaluation" in line) for line in folder.lines("metrics.jsonl")] == [False, False]
    assert folder.read_json("checkpoint/latest.json")["round"] == 2


def test_a_folder_at_work_is_waited_for(texts: Path, tmp_path: Path) -> None:
    folder, other = RunFolder(tmp_path / "run"), RunFolder(tmp_path / "run")
    assert other.wait_until_free(0)  # there is none
    folder.open(small_config(texts), {})
    assert not other.wait_until_free(0)
    folder.close()
    assert other.wait_until_free(0)
