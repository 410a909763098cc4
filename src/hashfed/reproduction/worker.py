"""The program of a process that makes runs one after another, as its parent asks.

Each line of standard input is a run as JSON (``config`` with its output, ``measure_memory``,
``keep_model``); each line of standard output says how it goes. The data of the last run are kept for the
next. When the input ends, because the parent did or wants it, the run in hand is stopped and saved.
"""

import json
import os
import queue
import shutil
import signal
import sys
import threading
import traceback
import warnings
from typing import IO, Any

import torch

from hashfed.config import Config, make_config
from hashfed.engines.allocator import keep_memory
from hashfed.engines.lack import lack_of_memory
from hashfed.errors import ClientDivergedError, HashfedError, HashfedWarning
from hashfed.federated.divergence import DivergedError
from hashfed.reproduction.plan import data_key
from hashfed.runs.folder import RunFolder
from hashfed.runs.train import load_data, train
from hashfed.stopping import Interrupted
from hashfed.tasks.federated_data import FederatedData

ROUND, DONE, FAILED, MISTAKE, STOPPED, BUG = "round", "done", "failed", "mistake", "stopped", "bug"
"""Kinds of lines; the text of the last four says why."""
SECONDS_TO_SAVE = 600
"""How long a process may take to finish the step in hand and save, when it is to stop."""


class _Told:
    """Tells the parent of each round."""

    def __init__(self, output: IO[str]) -> None:
        self._output = output

    def start(self, done: int, rounds: int) -> None:
        """How many rounds an earlier process made."""
        say(self._output, ROUND, done)

    def round(self, metrics: dict[str, Any]) -> None:
        """One more."""
        say(self._output, ROUND, metrics["round"])

    def finish(self) -> None:
        """Nothing."""


class _LastData:
    """Reads data, and keeps what it read last."""

    def __init__(self) -> None:
        self._key: object = None
        self._data: FederatedData[Any] | None = None

    def __call__(self, config: Config) -> FederatedData[Any]:
        """The data of a configuration."""
        key = data_key(config)
        if self._data is None or key != self._key:
            self._data = None  # before the next come into memory
            self._data, self._key = load_data(config), key
        return self._data


def say(output: IO[str], kind: str, value: object = None) -> None:
    """A line to the parent; where that was killed nobody hears it, and the run is still to be saved."""
    try:
        output.write(json.dumps([kind, value]) + "\n")
        output.flush()
    except BrokenPipeError:
        # What is still in the buffer must not fail again at the end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), output.fileno())


def main() -> None:
    """Work until the input ends."""
    # What libraries print must not come between the lines for the parent.
    output = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    torch.set_num_threads(1)
    keep_memory()
    warnings.simplefilter("ignore", HashfedWarning)  # the parent reads the data too, and tells once
    asked: queue.SimpleQueue[str | None] = queue.SimpleQueue()
    threading.Thread(target=_read, args=(asked,), daemon=True).start()
    load = _LastData()
    while (line := asked.get()) is not None:
        _make(json.loads(line), load, output)


def _read(asked: "queue.SimpleQueue[str | None]") -> None:
    for line in sys.stdin:
        asked.put(line)
    asked.put(None)
    os.kill(os.getpid(), signal.SIGTERM)


def _make(task: dict[str, Any], load: _LastData, output: IO[str]) -> None:
    config = make_config(task["config"])
    # Of a parent that was killed, the process that made this run may still be saving it.
    RunFolder(config.folder()).wait_until_free(SECONDS_TO_SAVE)
    try:
        with lack_of_memory():
            train(config, _Told(output), load=load, measure_memory=task["measure_memory"])
        if not task["keep_model"]:
            shutil.rmtree(config.folder() / "checkpoint", ignore_errors=True)
        say(output, DONE)
    except Interrupted:
        say(output, STOPPED)
        sys.exit(0)
    except (ClientDivergedError, DivergedError) as error:
        say(output, FAILED, str(error))
    except HashfedError as error:
        say(output, MISTAKE, str(error))
    except Exception:
        say(output, BUG, traceback.format_exc())
