"""Clients in parallel: one single-threaded process per core, which live as long as the run.

The model's parameters lie in shared memory: the server writes them between rounds, workers only read.
Which worker plays which client changes nothing, for a client's numbers depend on the parameters, the
seed, the round and its name alone.
"""

import multiprocessing.connection
import os
import signal
import threading
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from typing import Any

import torch
import torch.multiprocessing

from hashfed.config import Config
from hashfed.data import FederatedText
from hashfed.data.sentences import Sentences
from hashfed.engines.allocator import keep_memory
from hashfed.engines.evaluation import evaluate_chunk
from hashfed.engines.exchange import ClientReport, play_round
from hashfed.errors import HashfedError
from hashfed.federated import wire
from hashfed.federated.messages import Update
from hashfed.models import Model, Parameters, PredictionSums
from hashfed.retrieval import Index, build_index

POLL_SECONDS = 0.1
"""How often a wait for workers looks whether the run was interrupted."""


class Interrupted(Exception):  # noqa: N818 (no error: the user asked for it)
    """The run was asked to stop; the server's state is that of the last finished round."""


@dataclass(frozen=True)
class PlayClient:
    """Task: one training client's round."""

    round: int
    client: int


@dataclass(frozen=True)
class EvaluateChunk:
    """Task: one chunk of the held-out sentences, of the sample or of all."""

    chunk: int
    everything: bool


Task = PlayClient | EvaluateChunk


@dataclass
class Workbench:
    """What is needed to do tasks, in a worker or in the main process.

    Attributes:
        config: of the run.
        model: its functions.
        data: the clients.
        held_out: sentences to evaluate on, the sample and all.
        parameters: as they are in this round, shared.
        indexed: (n, d) the rows that the index is built of where not those of ``parameters``, shared.
        prior: (n,) the counts that the index is built of where not the public ones, shared.
        index: the last index, and the first round that used it.

    """

    config: Config
    model: Model
    data: FederatedText
    held_out: dict[bool, Sentences]
    parameters: Parameters
    indexed: torch.Tensor | None
    prior: torch.Tensor | None
    index: tuple[int, Index] | None = field(default=None, init=False)

    def play(self, task: PlayClient) -> tuple[Update, ClientReport]:
        """One client's round; the index is built when the first client of a refreshed round comes."""
        built = refreshed(task.round, self.config.retrieval.refresh)
        if self.index is None or self.index[0] != built:
            rows = self.parameters.rows if self.indexed is None else self.indexed
            prior = self.data.label_counts if self.prior is None else self.prior.numpy().copy()
            self.index = (built, build_index(rows, self.config.retrieval, prior, self.config.seed))
        client = self.data.train[task.client]
        return play_round(self.config, self.model, self.parameters, self.index[1], client, task.round)

    def evaluate(self, task: EvaluateChunk) -> PredictionSums:
        """Sums of one chunk."""
        return evaluate_chunk(self.model, self.parameters, self.held_out[task.everything], task.chunk)


def refreshed(round: int, refresh: int) -> int:
    """The round before which the index of ``round`` was built: the first of every ``refresh``."""
    return round - (round - 1) % refresh


class InProcess:
    """Does tasks one after another in this process, with the threads that its caller set (one)."""

    def __init__(self, bench: Workbench, stop: Callable[[], bool]) -> None:
        self._bench, self._stop = bench, stop

    def run(self, tasks: Sequence[Task], stoppable: bool = True) -> Iterator[tuple[int, Any]]:
        """Yield (position of the task, its result).

        Raises:
            Interrupted: between two tasks, where a stop was asked for.

        """
        for position, task in enumerate(tasks):
            if stoppable and self._stop():
                raise Interrupted
            if isinstance(task, PlayClient):
                yield position, self._bench.play(task)
            else:
                yield position, self._bench.evaluate(task)

    def close(self) -> None:
        """Nothing to end."""


class WorkerPool:
    """Does tasks in ``count`` processes."""

    def __init__(self, bench: Workbench, count: int, stop: Callable[[], bool]) -> None:
        self._stop = stop
        context = torch.multiprocessing.get_context("spawn")
        self._connections: list[Connection] = []
        self._busy: dict[Connection, int] = {}
        self._processes = []
        with _child_environment():
            for _ in range(count):
                here, there = context.Pipe()
                process = context.Process(target=_work, args=(there,), daemon=True)
                process.start()
                there.close()
                self._connections.append(here)
                self._processes.append(process)
        # Sent once the pipe's far end is the worker's alone, so that its death is an error, not a wait.
        for connection in self._connections:
            try:
                connection.send(bench)
            except OSError:
                error = self._died(connection)
                self.close()
                raise error from None

    def run(self, tasks: Sequence[Task], stoppable: bool = True) -> Iterator[tuple[int, Any]]:
        """Yield (position of the task, its result) as results come; tasks start in the order given.

        Raises:
            Interrupted: where a stop was asked for.
            HashfedError: where a worker reports one, or died.

        """
        self._drain()
        waiting = iter(enumerate(tasks))
        for connection in self._connections:
            self._give(connection, waiting)
        while self._busy:
            ready = multiprocessing.connection.wait(list(self._busy), POLL_SECONDS)
            if stoppable and self._stop():
                raise Interrupted
            for connection in [item for item in self._busy if item in ready]:
                position = self._busy.pop(connection)
                result = self._receive(connection)
                self._give(connection, waiting)
                yield position, result

    def _drain(self) -> None:
        """Wait for, and forget, what an earlier call that was stopped has left in the workers' hands."""
        while self._busy:
            connection, _ = self._busy.popitem()
            try:
                connection.recv_bytes()
            except (EOFError, OSError):
                raise self._died(connection) from None

    def _give(self, connection: Connection, waiting: Iterator[tuple[int, Task]]) -> None:
        item = next(waiting, None)
        if item is not None:
            try:
                connection.send(item[1])
            except OSError:
                raise self._died(connection) from None
            self._busy[connection] = item[0]

    def _receive(self, connection: Connection) -> Any:
        try:
            kind, payload = connection.recv()
        except (EOFError, OSError):
            raise self._died(connection) from None
        if kind == "mistake":
            raise HashfedError(payload)
        if kind == "bug":
            raise RuntimeError(f"in a worker process:\n{payload}")
        if kind == "update":
            data, report = payload
            update = wire.decode(data)
            return update, report
        return payload

    def _died(self, connection: Connection) -> HashfedError:
        process = self._processes[self._connections.index(connection)]
        process.join(timeout=5)
        return HashfedError(
            f"worker process {process.pid} ended with exit code {process.exitcode}; -9 often means that "
            "memory ran out: lower workers. The same command goes on from the last saved round"
        )

    def close(self) -> None:
        """End the processes, also those at work."""
        for connection in self._connections:
            connection.close()
        for process in self._processes:
            process.terminate()
            process.join()


@contextmanager
def _child_environment() -> Iterator[None]:
    """What child processes inherit: one thread each, and no Ctrl-C, which the main process answers."""
    names = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS")
    before = {name: os.environ.get(name) for name in names}
    os.environ.update(dict.fromkeys(names, "1"))
    main = threading.current_thread() is threading.main_thread()
    handler = signal.signal(signal.SIGINT, signal.SIG_IGN) if main else None
    try:
        yield
    finally:
        if main:
            signal.signal(signal.SIGINT, handler)
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def _work(connection: Connection) -> None:
    """A worker's life: tasks until the pipe closes (also when the main process was killed)."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    keep_memory()
    torch.set_num_threads(1)
    try:
        bench: Workbench = connection.recv()
    except (EOFError, OSError):
        return
    while True:
        try:
            task = connection.recv()
        except (EOFError, OSError):
            return
        answer: tuple[str, Any]
        try:
            if isinstance(task, PlayClient):
                update, report = bench.play(task)
                answer = "update", (wire.encode(update), report)
            else:
                answer = "sums", bench.evaluate(task)
        except HashfedError as error:
            answer = "mistake", str(error)
        except Exception:  # a bug: the main process raises it with this traceback
            answer = "bug", traceback.format_exc()
        try:
            connection.send(answer)
        except OSError:
            return
