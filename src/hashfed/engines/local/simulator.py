"""Federated rounds on one machine (paper, section 3.2)."""

from collections.abc import Callable, Mapping
from typing import Any

from hashfed.config import Config
from hashfed.engines.budget import build_model, steps
from hashfed.engines.evaluation import chunks, finish_evaluation, held_out_examples
from hashfed.engines.index_keeper import refreshed
from hashfed.engines.local.lockstep import play_lockstep
from hashfed.engines.local.workers import (
    EvaluateChunk,
    InProcess,
    PlayClient,
    PlayStep,
    Task,
    Workbench,
    WorkerPool,
)
from hashfed.engines.mapped import MAPPED
from hashfed.engines.round_end import RoundEnd
from hashfed.engines.rounds import RoundRecord, check_cohort, draw_cohort
from hashfed.engines.single_thread import single_thread
from hashfed.engines.state import ServerState
from hashfed.errors import HashfedError
from hashfed.federated.error_feedback import Residual
from hashfed.federated.messages import Message
from hashfed.federated.privacy.primitives import library
from hashfed.federated.protocols import in_lockstep
from hashfed.federated.sum_secrets import SumSecrets
from hashfed.hardware import usable_cores
from hashfed.tasks.federated_data import FederatedData
from hashfed.tasks.metrics import add_sums
from hashfed.tasks.registry import make_task


def workers_of(config: Config) -> int:
    """How many processes simulate the clients: where that is not set, no more than have something to do."""
    if config.device == "cuda":
        return 1
    return config.workers or min(usable_cores(), config.cohort)


class Simulation:
    """A server and its clients in one machine; a context manager that ends its workers.

    Attributes:
        state: the server's state after the last finished round.
        remote: False: clients are here.

    """

    remote = False

    def __init__(
        self, config: Config, data: FederatedData[Any], stop: Callable[[], bool] = lambda: False
    ) -> None:
        """Set up round 0.

        Args:
            config: of the run.
            data: the clients.
            stop: asked now and then; once true, ``run_round`` and ``evaluate`` raise ``Interrupted``.

        Raises:
            HashfedError: where the cohort exceeds the training clients, or there is no such device.

        """
        check_cohort(config, len(data.train))
        if in_lockstep(steps(config)) and config.secure.masks:
            library("hashes")  # rather before the first round
        self.config, self.data = config, data
        self.model, self.task = build_model(config), make_task(config.data)
        self.state = ServerState.fresh(self.model, data.sizes, config)
        held_out = held_out_examples(data.held_out, config.evaluation.examples, config.seed)
        everything = held_out_examples(data.held_out, config.evaluation.final_examples, config.seed)
        self._chunks = {False: chunks(held_out), True: chunks(everything)}
        self._tables = self.state.map_files(config.folder() / MAPPED) if config.memory_map else {}
        self._bench = bench = Workbench(
            config,
            self.model,
            self.task.metrics,
            data,
            {False: held_out, True: everything},
            self.state.parameters,
            self.state.indexed,
            self.state.prior,
            self._tables,
            self.state.changed,
            self.state.known,
        )
        self._executor: InProcess | WorkerPool
        count = workers_of(config)
        if count == 1:
            self._executor = InProcess(bench, stop)
            return
        try:
            self._executor = WorkerPool(bench, count, stop, self.state.share_memory(self._tables))
        except BaseException:
            self._delete_tables()
            raise

    def __enter__(self) -> "Simulation":
        return self

    def __exit__(self, *_: object) -> None:
        self._executor.close()
        self._delete_tables()

    def _delete_tables(self) -> None:
        for table in self._tables.values():
            table.delete()

    def run_round(self) -> RoundRecord:
        """One round; the state changes only once every client has answered.

        Raises:
            Interrupted: on a stop; the state is as before.
            HashfedError: where a client's update is not finite, or a worker died; the state is as before.
            DivergedError: where the server's step left no usable model; nor is the state one.

        """
        config, state, number = self.config, self.state, self.state.round + 1
        if refreshed(number, config.retrieval.rebuilt_every) == number:
            state.refresh()
        cohort = draw_cohort(config, number, len(self.data.train))
        if in_lockstep(steps(config)):
            with single_thread():
                return self._run_in_lockstep(number, cohort)
        tasks: list[Task] = [PlayClient(number, c, self._size(c), self._residual(c)) for c in cohort]
        end = RoundEnd(config, state)
        with single_thread():
            for played in self._executor.run(tasks):
                report = played.report
                try:
                    accepted = end.accept(played.update, played.tail)
                except HashfedError as error:
                    raise type(error)(f"round {number}: client {report.client}: {error}") from None
                end.add(report, accepted, played.tail, played.residual)
            return end.finish()

    def _run_in_lockstep(self, number: int, cohort: list[int]) -> RoundRecord:
        """A round whose steps all clients make together, and which leaves their sum."""
        clients = {self.data.train[client].name: client for client in cohort}
        server = self._bench.begin(number, sorted(clients))

        def ask(step: int, told: Mapping[str, tuple[Message, ...]], secrets: Mapping[str, SumSecrets]) -> Any:
            names = sorted(told)
            tasks: list[Task] = [
                PlayStep(number, clients[name], step, told[name], secrets[name]) for name in names
            ]
            return zip(names, self._executor.run(tasks), strict=True)

        return play_lockstep(server, RoundEnd(self.config, self.state), ask)

    def _residual(self, client: int) -> Residual | None:
        """What compression lost of the client's last update, if that is fed back."""
        return (self.state.residuals or {}).get(self.data.train[client].name)

    def _size(self, client: int) -> int:
        """About how many positions the client will train on in a round."""
        examples = self.data.train[client].examples
        share = min(1.0, self.config.client.examples / max(1, len(examples)))
        return round(share * examples.weight)

    def evaluate(self, everything: bool = False, stoppable: bool = True) -> dict[str, float]:
        """Metrics of the current model on the held-out clients.

        Args:
            everything: on as many as at the end, ``config.evaluation.final_examples``, instead of
                ``config.evaluation.examples``.
            stoppable: whether a stop ends it early.

        Raises:
            Interrupted: on a stop.
            DivergedError: where a metric is not finite.

        """
        tasks: list[Task] = [
            EvaluateChunk(self.state.round, chunk, everything) for chunk in range(self._chunks[everything])
        ]
        with single_thread():
            sums = add_sums(self._executor.run(tasks, stoppable))
        return finish_evaluation(self.task.metrics, sums, self.state.round, self.config)
