"""Clients in parallel: one single-threaded process per core, which live as long as the run.

The model's parameters lie in shared memory: the server writes them between rounds, workers only read.
Which worker plays which client changes nothing, for a client's numbers depend on the parameters, the
seed, the round and its name alone.

Results come in the order of the tasks, whoever finishes first, so that sums have one order. They are handed
on as soon as it is their turn, and tasks are not begun far ahead of it, so that what waits is bounded by the
number of workers, not by the number of tasks. While one worker looks up rows, others train: no step of the
round waits for all clients.
"""

import json
import os
import socket
import subprocess
import sys
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from itertools import takewhile
from pathlib import Path
from typing import Any

import torch

from hashfed.config import Config
from hashfed.engines.allocator import give_back_gaps, keep_memory
from hashfed.engines.client_round import ClientRound
from hashfed.engines.evaluation import evaluate_chunk
from hashfed.engines.exchange import Answered, Played, play_round, play_step
from hashfed.engines.index_keeper import IndexKeeper
from hashfed.engines.lack import lack_of_memory
from hashfed.engines.local.channel import Channel, Parcel, ready
from hashfed.engines.local.slots import SlotReader, SlotWriter
from hashfed.engines.local.worker_troubles import MISTAKE, how_it_ended, not_started, start_problem
from hashfed.engines.mapped import MappedTable
from hashfed.engines.server_round import ServerRound
from hashfed.engines.shared import SharedBlock
from hashfed.errors import HashfedError
from hashfed.federated.codec import under
from hashfed.federated.common_state import CommonState
from hashfed.federated.error_feedback import Residual
from hashfed.federated.messages import Message
from hashfed.federated.sum_secrets import SumSecrets
from hashfed.models import Model, Parameters
from hashfed.stopping import Interrupted, blocked
from hashfed.tasks.federated_data import FederatedData, SomeExamples
from hashfed.tasks.metrics import Metrics, Sums

POLL_SECONDS = 0.1
"""How often a wait for workers looks whether the run was interrupted."""
GAPS_EVERY = 16
"""Tasks in this process after which it returns free memory: faulting pages in again costs far below 1%."""
AHEAD = 3
"""Tasks per worker that may be begun or finished before the one whose result is due."""


@dataclass(frozen=True)
class PlayClient:
    """Task: one training client's round; ``size`` tells which of two clients takes longer.

    ``residual`` is what compression lost of the client's last update, if that is fed back.
    """

    round: int
    client: int
    size: int
    residual: Residual | None = None


@dataclass(frozen=True)
class EvaluateChunk:
    """Task: one chunk of the held-out examples, of the sample or of all, after so many rounds."""

    round: int
    chunk: int
    everything: bool


@dataclass(frozen=True)
class PlayStep:
    """Task: one training client's part of one step of a round that is played in lockstep.

    Attributes:
        round: its number.
        client: position among the training clients.
        step: position among the round's steps.
        told: what the server has for this client alone.
        secrets: that the client kept from the step before.

    """

    round: int
    client: int
    step: int
    told: tuple[Message, ...]
    secrets: SumSecrets


Task = PlayClient | PlayStep | EvaluateChunk


@dataclass
class Workbench:
    """What is needed to do tasks, in a worker or in the main process.

    Attributes:
        config: of the run.
        model: its functions.
        metrics: of its task.
        data: the clients.
        held_out: examples to evaluate on, the sample and all.
        parameters: as they are in this round, shared.
        indexed: (n, d) the rows that the index is built of where not those of ``parameters``, shared.
        prior: (n,) the counts that the index is built of where not the public ones, shared.
        tables: files of those of these tables that are mapped, by name.
        changed: (n,) the last round at whose end each row moved, shared; None where nobody notes it.
        known: of earlier sums, shared, where the server learns these alone.
        keeper: of the index, from the first client on.
        server: of the round that was played last, with its slices (``selection.delivery: pre-generated``).
        copy: the parameters on the clients' device, and after how many rounds they were so; None on a CPU.

    """

    config: Config
    model: Model
    metrics: Metrics
    data: FederatedData[Any]
    held_out: dict[bool, SomeExamples]
    parameters: Parameters
    indexed: torch.Tensor | None
    prior: torch.Tensor | None
    tables: Mapping[str, MappedTable]
    changed: torch.Tensor | None = None
    known: CommonState | None = None
    keeper: IndexKeeper | None = field(default=None, init=False)
    server: ServerRound | None = field(default=None, init=False)
    copy: tuple[int, Parameters] | None = field(default=None, init=False)

    def __getstate__(self) -> dict[str, Any]:
        """For a worker, without the mapped tables: it opens their files itself."""
        state = dict(self.__dict__)
        if self.tables:
            state["parameters"] = Parameters({}, self.parameters.body)
            state["indexed"] = None
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        if self.tables:
            mapped = under("tables", self.tables)
            rows = {name: table.open() for name, table in mapped.items()}
            self.parameters = Parameters(rows, self.parameters.body)
        if "indexed" in self.tables:
            self.indexed = self.tables["indexed"].open()

    def do(self, task: Task) -> Played | Answered | Sums:
        """A task of any kind."""
        if isinstance(task, PlayClient):
            return self.play(task)
        return self.play_step(task) if isinstance(task, PlayStep) else self.evaluate(task)

    def play(self, task: PlayClient) -> Played:
        """One client's round; the index is made when the first client of a refreshed round comes."""
        client, sizes = self.data.train[task.client], self.data.sizes
        here = ClientRound(self.config, self.model, client, task.round, sizes, task.residual)
        played = play_round(self.server_of(task.round), here)
        residual = None if played.residual is None else played.residual.cpu()
        tail = None if played.tail is None else played.tail.cpu()
        return replace(played, update=played.update.cpu(), tail=tail, residual=residual)

    def play_step(self, task: PlayStep) -> Answered:
        """One client's part of a step."""
        client, sizes = self.data.train[task.client], self.data.sizes
        here = ClientRound(self.config, self.model, client, task.round, sizes, secrets=task.secrets)
        there = self.server_of(task.round)
        return play_step(there, here, there.steps[task.step], task.told)

    def begin(self, round: int, cohort: Sequence[str]) -> ServerRound:
        """The server of a round in lockstep with its clients, anew where that round was played before."""
        self.server = None
        return self.server_of(round, cohort)

    def server_of(self, round: int, cohort: Sequence[str] = ()) -> ServerRound:
        """What makes the server's messages of a round."""
        if self.keeper is None:
            self.keeper = IndexKeeper.of(self.config, self, self.data.label_counts)
        if self.server is None or self.server.round != round:
            self.server = None  # its index need not be held beside the next
            index, parameters = self.keeper.at(round), self._on_device(round - 1)
            self.server = ServerRound.of(
                self.config, parameters, index, round, self.data.label_counts, self.known, cohort
            )
        return self.server

    def evaluate(self, task: EvaluateChunk) -> Sums:
        """Sums of one chunk."""
        self.server = None  # nor its copy of the parameters
        parameters = self._on_device(task.round)
        return evaluate_chunk(
            self.model, parameters, self.metrics, self.held_out[task.everything], task.chunk
        )

    def _on_device(self, rounds: int) -> Parameters:
        """The parameters as they are after ``rounds`` rounds, on the device where clients train."""
        if self.config.device == "cpu":
            return self.parameters
        if self.copy is None or self.copy[0] != rounds:
            self.copy = (rounds, self.parameters.to(self.config.device))
        return self.copy[1]


class InProcess:
    """Does tasks one after another in this process, with the threads that its caller set (one)."""

    def __init__(self, bench: Workbench, stop: Callable[[], bool]) -> None:
        self._bench, self._stop = bench, stop

    def run(self, tasks: Sequence[Task], stoppable: bool = True) -> Iterator[Any]:
        """Yield the results in order of the tasks.

        Raises:
            Interrupted: between two tasks, where a stop was asked for.
            HashfedError: where a task's memory cannot be had.

        """
        for position, task in enumerate(tasks):
            if stoppable and self._stop():
                raise Interrupted
            if position % GAPS_EVERY == GAPS_EVERY - 1:
                give_back_gaps()
            with lack_of_memory():
                result = self._bench.do(task)
            yield result

    def close(self) -> None:
        """Nothing to end."""


class WorkerPool:
    """Does tasks in ``count`` processes."""

    def __init__(
        self, bench: Workbench, count: int, stop: Callable[[], bool], shared: SharedBlock | None = None
    ) -> None:
        """Start them.

        Args:
            bench: what each works on.
            count: of processes.
            stop: as for ``Simulation``.
            shared: the memory that the tensors of ``bench`` are in; its handle is closed here.

        Raises:
            Interrupted: on a stop.
            HashfedError: where one cannot be started, with the reason.

        """
        self._stop = stop
        self._connections: list[Channel] = []
        self._busy: dict[Channel, tuple[int, int]] = {}
        """Who works, at the task of which position, into which slot."""
        self._processes: list[subprocess.Popen[bytes]] = []
        self._readers: dict[Channel, SlotReader] = {}
        try:
            for _ in range(count):
                self._start(count)
            self._until_ready()
            parcel = Parcel(bench, [] if shared is None else [shared])
            for connection in self._connections:
                try:
                    connection.post(parcel)
                except OSError:
                    with suppress(EOFError, OSError):
                        if problem := connection.hear():  # what it told before it ended
                            raise start_problem(count, problem) from None
                    raise self._died(connection) from None
            self._until_ready()
        except BaseException:
            self.close()
            raise
        finally:
            if shared is not None:
                shared.close_handle()

    def _start(self, count: int) -> None:
        """One process, which ends when the other end of its socket closes, also by our death."""
        try:
            here, there = socket.socketpair()
            with there:
                try:
                    # Only this process answers signals, also those to all of its group.
                    with blocked():
                        process = subprocess.Popen(
                            worker_command(there.fileno()),
                            stdin=subprocess.DEVNULL,
                            pass_fds=[there.fileno()],
                            env={**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"},
                        )
                except BaseException:
                    here.close()
                    raise
        except OSError as error:
            raise not_started(count, error.errno, error.strerror or str(error)) from None
        self._processes.append(process)
        connection = Channel(here.detach())
        self._connections.append(connection)
        self._readers[connection] = SlotReader()

    def _until_ready(self) -> None:
        """Wait until each has said that it could do what it was to."""
        waiting = list(self._connections)
        while waiting:
            for connection in ready(waiting, POLL_SECONDS):
                try:
                    problem = connection.hear()
                except (EOFError, OSError):
                    raise self._died(connection) from None
                if problem:
                    raise start_problem(len(self._connections), problem)
                waiting.remove(connection)
            if self._stop():
                raise Interrupted

    def run(self, tasks: Sequence[Task], stoppable: bool = True) -> Iterator[Any]:
        """Yield the results in order of the tasks, each as soon as it and those before are there.

        Among the tasks that may begin the largest does, so that no worker is left with one at the end. The
        arrays of an update are the worker's memory: they last until the next result is asked for.

        Raises:
            Interrupted: where a stop was asked for.
            HashfedError: where a worker reports one, or died.

        """
        self._drain()
        ahead = AHEAD * len(self._connections)
        used: dict[Channel, set[int]] = {connection: set() for connection in self._connections}
        waiting, done = list(range(len(tasks))), dict[int, tuple[Channel, int, Any]]()
        for due in range(len(tasks)):
            while due not in done:
                for connection in self._connections:
                    begin = list(takewhile((due + ahead).__gt__, waiting))  # it ascends, and may be long
                    if connection not in self._busy and begin:
                        position = max(begin, key=lambda item: (_size(tasks[item]), -item))
                        waiting.remove(position)
                        slot = min(set(range(ahead)) - used[connection])
                        used[connection].add(slot)
                        self._give(connection, position, slot, tasks[position])
                answered = ready(list(self._busy), POLL_SECONDS)
                if stoppable and self._stop():
                    raise Interrupted
                for connection in answered:
                    position, slot = self._busy.pop(connection)
                    done[position] = connection, slot, self._receive(connection)
            connection, slot, result = done.pop(due)
            yield result
            used[connection].discard(slot)

    def _drain(self) -> None:
        """Wait for, and forget, what an earlier call that was stopped has left in the workers' hands."""
        while self._busy:
            connection, _ = self._busy.popitem()
            try:
                kind, payload = connection.receive()
            except (EOFError, OSError):
                raise self._died(connection) from None
            if kind == "update":
                self._readers[connection].read(payload[0])  # its slot may be new

    def _give(self, connection: Channel, position: int, slot: int, task: Task) -> None:
        try:
            connection.send((slot, task))
        except OSError:
            raise self._died(connection) from None
        self._busy[connection] = position, slot

    def _receive(self, connection: Channel) -> Any:
        try:
            kind, payload = connection.receive()
        except (EOFError, OSError):
            raise self._died(connection) from None
        if kind == "mistake":
            raise HashfedError(payload)
        if kind == "bug":
            raise RuntimeError(f"in a worker process:\n{payload}")
        if kind == "update":
            message, *others = payload
            return Played(self._readers[connection].read(message), *others)
        return payload

    def _died(self, connection: Channel) -> HashfedError:
        process = self._processes[self._connections.index(connection)]
        with suppress(subprocess.TimeoutExpired):
            process.wait(timeout=5)
        return HashfedError(
            f"worker process {process.pid} {how_it_ended(process.returncode)}. The same command goes on from "
            "the last saved round"
        )

    def close(self) -> None:
        """End the processes, also those at work."""
        for connection in self._connections:
            connection.close()
        for process in self._processes:
            process.kill()
            process.wait()


def worker_command(handle: int) -> list[str]:
    """A Python like this one that runs ``worker_start`` with one end of a socket."""
    options = ["-P", *["-O"] * sys.flags.optimize, *(f"-W{option}" for option in sys.warnoptions)]
    program = str(Path(__file__).with_name("worker_start.py"))
    return [sys.executable, *options, program, str(handle), json.dumps([str(entry) for entry in sys.path])]


def _size(task: Task) -> int:
    return task.size if isinstance(task, PlayClient) else 0


def work(handle: int) -> None:
    """A worker's life: tasks until the socket closes (also when the main process was killed)."""
    connection = Channel(handle)
    try:
        keep_memory()
        torch.set_num_threads(1)
        connection.tell("")
        bench = _take_bench(connection)
        slots = SlotWriter()
        while bench is not None:
            slot, task = connection.receive()
            answer = _answer(bench, slots, slot, task)
            connection.send(answer)
            kind, payload = answer
            if kind == "update" and payload[0].memory is not None:
                payload[0].memory.close_handle()
    except (EOFError, ConnectionError):
        return  # the main process has ended


def _take_bench(connection: Channel) -> Workbench | None:
    """None where it could not be taken, and the main process was told why."""
    try:
        with lack_of_memory():
            bench: Workbench = connection.receive()
    except (EOFError, ConnectionError):
        raise
    except Exception as error:
        mistake = isinstance(error, HashfedError)
        connection.tell(f"{MISTAKE}{error}" if mistake else traceback.format_exc())
        return None
    connection.tell("")
    return bench


def _answer(bench: Workbench, slots: SlotWriter, slot: int, task: Task) -> tuple[str, Any]:
    """The result of a task, or what went wrong."""
    try:
        with lack_of_memory():
            if isinstance(task, PlayClient):
                played = bench.play(task)
                message = slots.write(slot, played.update)
                return "update", (message, played.report, played.tail, played.residual)
            return "other", bench.do(task)
    except HashfedError as error:
        return "mistake", str(error)
    except Exception:  # a bug: the main process raises it with this traceback
        return "bug", traceback.format_exc()
