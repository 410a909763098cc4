"""Processes that make runs side by side."""

import json
import queue
import subprocess
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hashfed.engines.local.worker_troubles import how_it_ended
from hashfed.errors import HashfedError
from hashfed.reproduction import worker
from hashfed.reproduction.plan import Job


@dataclass(frozen=True)
class News:
    """What a process says.

    Attributes:
        place: of the process.
        kind: of ``worker``'s kinds, or ``ended``: it is gone.
        value: the round, or why.

    """

    place: int
    kind: str
    value: Any


ENDED = "ended"


class Pool:
    """As many processes as there are jobs at a time; a context manager: left, they stop and save.

    They are in sessions of their own: a Ctrl-C reaches this process alone, which lets them end in order. If
    this process is killed, they save what they have and end too.
    """

    def __init__(self, count: int, folder: Path) -> None:
        self.folder = folder
        self.free = list(range(count))
        self._processes: dict[int, subprocess.Popen[str]] = {}
        self._news: queue.SimpleQueue[News] = queue.SimpleQueue()

    def __enter__(self) -> "Pool":
        """Processes start when they are needed."""
        return self

    def __exit__(self, *_: object) -> None:
        """Let all end."""
        for process in self._processes.values():
            with suppress(OSError):
                assert process.stdin is not None
                process.stdin.close()
        for process in self._processes.values():
            with suppress(subprocess.TimeoutExpired):
                process.wait(worker.SECONDS_TO_SAVE)

    def begin(self, job: Job) -> int:
        """Give a job to a free process; the place of it."""
        place = self.free.pop(0)
        if place not in self._processes:
            self._processes[place] = self._start(place)
        config = job.config.model_dump(mode="json") | {"output": str(self.folder / job.folder)}
        task = {"config": config, "measure_memory": job.measure_memory, "keep_model": job.keep_model}
        stdin = self._processes[place].stdin
        assert stdin is not None
        with suppress(OSError):  # it is gone: its last news says so
            stdin.write(json.dumps(task) + "\n")
            stdin.flush()
        return place

    def wait(self) -> News:
        """The next of the news; a process that has finished its job is free again.

        Raises:
            HashfedError: where a run cannot be made for a reason that the user can mend, or a process was
                ended from outside.
            RuntimeError: for a bug, with the process's traceback.

        """
        news = self._news.get()
        if news.kind == worker.MISTAKE:
            raise HashfedError(str(news.value))
        if news.kind == worker.BUG:
            raise RuntimeError(f"in a process that makes runs:\n{news.value}")
        if news.kind == ENDED:
            raise HashfedError(f"a process that makes runs {how_it_ended(news.value)} (--jobs)")
        if news.kind in (worker.DONE, worker.FAILED):
            self.free.append(news.place)
        return news

    def _start(self, place: int) -> "subprocess.Popen[str]":
        # By the same path as here: a program may have changed it.
        code = f"import sys; sys.path[:] = {sys.path!r}; from {worker.__name__} import main; main()"
        try:
            process = subprocess.Popen(
                [sys.executable, "-c", code],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
                start_new_session=True,
            )
        except OSError as error:
            raise HashfedError(
                f"--jobs = {len(self.free) + 1}: a process cannot be started ({error})"
            ) from None
        threading.Thread(target=_listen, args=(place, process, self._news.put), daemon=True).start()
        return process


def _listen(place: int, process: "subprocess.Popen[str]", put: Callable[[News], None]) -> None:
    assert process.stdout is not None
    for line in process.stdout:
        kind, value = json.loads(line)
        put(News(place, kind, value))
    put(News(place, ENDED, process.wait()))
