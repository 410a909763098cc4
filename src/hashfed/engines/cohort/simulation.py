"""Federated rounds whose clients are played as one batch (paper, section 3.2)."""

import warnings
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, TypeVar

import torch

from hashfed.config import Config
from hashfed.display import brief
from hashfed.engines.budget import build_model
from hashfed.engines.client_round import ClientRound
from hashfed.engines.cohort.arithmetic import arithmetic
from hashfed.engines.cohort.chunks import Memory
from hashfed.engines.cohort.joined import JoinedExamples
from hashfed.engines.cohort.member import Member
from hashfed.engines.cohort.planes import CohortPlanes
from hashfed.engines.cohort.selecting import ask, select
from hashfed.engines.cohort.supported import check_supported
from hashfed.engines.cohort.traffic import Traffic
from hashfed.engines.cohort.training import TrainedMembers, train_members
from hashfed.engines.evaluation import chunks, evaluate_chunk, finish_evaluation, held_out_examples
from hashfed.engines.index_keeper import IndexKeeper, refreshed
from hashfed.engines.lack import lack_of_memory
from hashfed.engines.round_end import RoundEnd
from hashfed.engines.rounds import RoundRecord, draw_cohort
from hashfed.engines.server_round import ServerRound
from hashfed.engines.single_thread import single_thread
from hashfed.engines.state import ServerState
from hashfed.errors import ClientDivergedError, HashfedError, HashfedWarning
from hashfed.federated.compression import NUMBERS, expand, map_changes
from hashfed.federated.messages import ClientKeys
from hashfed.federated.shared_step import shared_step
from hashfed.federated.stacked_client import Held
from hashfed.federated.sums import SummedUpdates
from hashfed.hashing.stacked_kmeans import alike
from hashfed.models import Parameters, WorkSpace
from hashfed.retrieval.decoded import DecodedSettings
from hashfed.stopping import Interrupted
from hashfed.tasks.federated_data import Client, FederatedData
from hashfed.tasks.metrics import add_sums
from hashfed.tasks.registry import make_task

Played = TypeVar("Played")


class CohortSimulation:
    """As ``local.simulator.Simulation``, whose numbers it gives but for rounding.

    Attributes:
        state: the server's state after the last finished round.
        remote: False: clients are here.

    """

    remote = False

    def __init__(
        self, config: Config, data: FederatedData[Any], stop: Callable[[], bool] = lambda: False
    ) -> None:
        """Set up round 0; arguments and errors are those of ``Simulation``."""
        self.config, self.data, self._stop = config, data, stop
        self.model, self.task = build_model(config), make_task(config.data)
        check_supported(config, self.model, len(data.train))
        loss = self.task.loss.stacked
        assert loss is not None, "what is supported has one"
        self._loss = loss
        with lack_of_memory():
            self.state = ServerState.fresh(self.model, data.sizes, config).to(config.device)
        self._held_out = {
            everything: held_out_examples(data.held_out, most, config.seed)
            for everything, most in (
                (False, config.evaluation.examples),
                (True, config.evaluation.final_examples),
            )
        }
        self._keeper = IndexKeeper.of(config, self.state, data.label_counts)
        if not isinstance(config.retrieval, DecodedSettings):
            self._keeper.rows = self._keeper.rows.cpu()  # that index is made of NumPy's arrays
        self._memory, self._halved = Memory.of(config, self.model), False
        self._space, self._traffic = WorkSpace(), Traffic()

    def __enter__(self) -> "CohortSimulation":
        return self

    def __exit__(self, *_: object) -> None:
        """Nothing is to be ended."""

    def run_round(self) -> RoundRecord:
        """One round; see ``Simulation``.

        Raises:
            Interrupted: on a stop; the state is as before.
            HashfedError: where a client's queries or update are not finite; the state is as before.
            DivergedError: where the server's step left no usable model; nor is the state one.

        """
        config, state, number = self.config, self.state, self.state.round + 1
        if refreshed(number, config.retrieval.rebuilt_every) == number:
            state.refresh()
        cohort = [self.data.train[place] for place in draw_cohort(config, number, len(self.data.train))]
        order = {client.name: place for place, client in enumerate(cohort)}
        with lack_of_memory(), single_thread(), arithmetic(config):
            there, end = self._server(number), RoundEnd(config, state)
            sent = as_sent(config, state.parameters)
            members = [self._member(of, number, place) for place, of in enumerate(cohort)]
            joined = JoinedExamples(self.model, [member.here.examples for member in members])
            self._check_stop()
            try:
                ask(there, self.model, sent, members, joined)
                self._check_stop()
                planes = select(there, members)
            except ClientDivergedError as error:  # not a mistake in the settings, which is of no round
                raise ClientDivergedError(f"round {number}: {error}") from None
            try:
                padding = self._train(end, there, members, joined, sent, planes)
            except HashfedError as error:
                raise type(error)(f"round {number}: {error}") from None
            record = end.finish()
        reports = sorted(record.reports, key=lambda one: order[one.client])
        return replace(record, reports=reports, padding=padding)

    def _server(self, number: int) -> ServerRound:
        rows = self.state.parameters.rows if self.state.indexed is None else self.state.indexed
        if self._keeper.rows is not rows:
            self._keeper.rows.copy_(rows)  # to the CPU, where the index is
        index = self._keeper.at(number)
        return ServerRound.of(self.config, self.state.parameters, index, number, self.data.label_counts)

    def _member(self, client: Client, number: int, place: int) -> Member:
        residual = (self.state.residuals or {}).get(client.name)
        here = ClientRound(self.config, self.model, client, number, self.data.sizes, residual)
        return Member(here, ClientKeys(number, {}), number=place)

    def _train(
        self,
        end: RoundEnd,
        there: ServerRound,
        members: Sequence[Member],
        joined: JoinedExamples,
        sent: Parameters,
        planes: CohortPlanes,
    ) -> float:
        """All clients' training, summed; the share of it that was padding."""
        together = [member for member in members if member.shares_its_step]
        waiting = [member for member in members if not member.shares_its_step]
        computed, padded = 0, 0
        while together:
            self._check_stop()
            some = self._memory.shared_chunk(together)
            made = self._fitting(partial(self._shared_step, some, joined, sent), len(some))
            if made is None:
                continue
            summed, queries = made
            together = together[len(some) :]
            computed, padded = computed + sum(summed.predictions), padded + queries
            for member in some:
                self._tell(there, member, member.holds(sent), 0)
            end.add_cohort([member.here.report for member in some], summed)
        batches = self._memory.chunks(waiting, self.model)
        while batches:
            self._check_stop()
            chunk = batches.pop(0)
            trained = self._fitting(
                partial(train_members, chunk, joined, sent, planes, self._loss, self._memory.most_logits),
                len(chunk),
            )
            if trained is None:
                left = [member for batch in (chunk, *batches) for member in batch]
                batches = self._memory.chunks(left, self.model)
                continue
            computed, padded = computed + trained.predictions, padded + trained.padded
            for member, held, bounded in zip(chunk, trained.held, trained.bounded, strict=True):
                self._tell(there, member, held, bounded)
            if self._one_by_one:
                self._add_updates(end, trained, planes)
            else:
                end.add_cohort([member.here.report for member in chunk], trained.summed())
        return 1 - computed / padded if padded else 0.0

    def _check_stop(self) -> None:
        if self._stop():
            raise Interrupted

    def _fitting(self, play: Callable[[], Played], clients: int) -> Played | None:
        """None where memory ran out the first time: then clients train in smaller batches from here on."""
        try:
            return play()
        except torch.OutOfMemoryError as error:
            if self._halved:
                raise
            reason = brief(str(error))
        # Here, where the error no longer holds what could not be finished.
        self._halved, self._memory = True, self._memory.halved()
        torch.cuda.empty_cache()
        many = f"{clients} clients" if clients > 1 else "1 client"
        told = f"memory ran out with {many} as one batch ({reason}): now half of the memory is used"
        warnings.warn(told, HashfedWarning, stacklevel=2)
        return None

    @property
    def _one_by_one(self) -> bool:
        """Whether something is done to each client's update before they are summed."""
        return self.config.server.clip is not None or self.config.compression.updates != "none"

    def _shared_step(
        self, members: Sequence[Member], joined: JoinedExamples, sent: Parameters
    ) -> tuple[SummedUpdates, int]:
        """See ``shared_step``.

        Raises:
            HashfedError: where it is of no use; that names a client whose part is of none by itself.

        """
        # Those with about as many predictions are one batch, so that little is padded.
        members = sorted(members, key=lambda one: one.here.examples.weight, reverse=True)
        orders = {member.number: member.orders()[0] for member in members}

        def step(some: Sequence[Member]) -> tuple[SummedUpdates, int]:
            predictions = [member.here.examples.weight for member in some]
            batches = [
                joined.batch(
                    [(member.number, orders[member.number]) for member in some[part]],
                    [member.here.noise for member in some[part]],
                )
                for part in alike(predictions)
            ]
            return shared_step(
                self.model,
                sent,
                batches,
                predictions,
                self.config.client.learning_rate,
                self.task.loss.gradients,
                [member.here.declared.inputs for member in some],
                self._space,
                self.config.precision,
            )

        try:
            return step(members)
        except HashfedError:
            for member in members:
                try:
                    step([member])
                except HashfedError as error:
                    raise type(error)(f"client {member.here.client.name}: {error}") from None
            raise

    def _add_updates(self, end: RoundEnd, trained: TrainedMembers, planes: CohortPlanes) -> None:
        device = self.state.parameters.rows.device
        for member, update in zip(trained.members, trained.updates(), strict=True):
            here, made = member.here, planes.of(member)
            tail = None if made is None else made[1]
            try:
                accepted = end.accept(
                    expand(here.compress(update)).cpu(), None if tail is None else tail.cpu()
                )
            except HashfedError as error:
                raise type(error)(f"client {here.client.name}: {error}") from None
            accepted = map_changes(accepted, lambda name, value: value.to(device))
            end.add(here.report, accepted, tail, None if here.lost is None else here.lost.cpu())

    def _tell(self, there: ServerRound, member: Member, held: Held, bounded: int) -> None:
        """What a client's round cost, into its report."""
        told = bounded if held.planes else None
        member.here.tell(there.encoder, member.rows, member.trained(held), held.planes, told)
        member.here.report.bytes |= self._traffic.of(there, member, held)

    def evaluate(self, everything: bool = False, stoppable: bool = True) -> dict[str, float]:
        """Metrics of the current model on the held-out clients; see ``Simulation``."""
        parameters = self.state.parameters
        examples, found = self._held_out[everything], []
        with lack_of_memory(), single_thread():
            for chunk in range(chunks(examples)):
                if stoppable:
                    self._check_stop()
                found.append(evaluate_chunk(self.model, parameters, self.task.metrics, examples, chunk))
        return finish_evaluation(self.task.metrics, add_sums(found), self.state.round, self.config)


def as_sent(config: Config, parameters: Parameters) -> Parameters:
    """Parameters as clients get them: rounded where they travel in fewer bits."""
    if config.compression.rows == "none":
        return parameters
    dtype = NUMBERS[config.compression.rows]

    def rounded(values: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        return {name: value.to(dtype).float() for name, value in values.items()}

    return Parameters(rounded(parameters.tables), rounded(parameters.body))
