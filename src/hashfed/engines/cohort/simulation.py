"""Federated rounds whose clients are played as one batch (paper, section 3.2)."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any

import torch

from hashfed.config import Config
from hashfed.engines.budget import build_model
from hashfed.engines.client_round import ClientRound
from hashfed.engines.cohort.chunks import Memory
from hashfed.engines.cohort.member import Member
from hashfed.engines.cohort.selecting import ask, select
from hashfed.engines.cohort.supported import check_supported
from hashfed.engines.cohort.traffic import Traffic
from hashfed.engines.cohort.training import ClientResult, train_members
from hashfed.engines.evaluation import chunks, evaluate_chunk, finish_evaluation, held_out_examples
from hashfed.engines.index_keeper import IndexKeeper, refreshed
from hashfed.engines.lack import lack_of_memory
from hashfed.engines.round_end import RoundEnd
from hashfed.engines.rounds import RoundRecord, draw_cohort
from hashfed.engines.server_round import ServerRound
from hashfed.engines.single_thread import single_thread
from hashfed.engines.state import ServerState
from hashfed.errors import HashfedError
from hashfed.federated.client import LocalModel
from hashfed.federated.compression import NUMBERS, expand
from hashfed.federated.messages import ClientKeys
from hashfed.federated.shared_step import add_shared_step
from hashfed.models import Parameters, WorkSpace
from hashfed.stopping import Interrupted
from hashfed.tasks.federated_data import FederatedData
from hashfed.tasks.metrics import add_sums
from hashfed.tasks.registry import make_task


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
        self.state = ServerState.fresh(self.model, data.sizes, config)
        self._held_out = {
            everything: held_out_examples(data.held_out, most, config.seed)
            for everything, most in (
                (False, config.evaluation.examples),
                (True, config.evaluation.final_examples),
            )
        }
        self._keeper = IndexKeeper.of(config, self.state, data.label_counts)
        self._memory: Memory | None = None
        self._space, self._traffic = WorkSpace(), Traffic()

    def __enter__(self) -> "CohortSimulation":
        return self

    def __exit__(self, *_: object) -> None:
        """Nothing is to be ended."""

    def run_round(self) -> RoundRecord:
        """One round; see ``Simulation``.

        Raises:
            Interrupted: on a stop; the state is as before.
            HashfedError: where a client's update is not finite; the state is as before.
            DivergedError: where the server's step left no usable model; nor is the state one.

        """
        config, state, number = self.config, self.state, self.state.round + 1
        if refreshed(number, config.retrieval.rebuilt_every) == number:
            state.refresh()
        parameters = state.parameters.to(config.device)
        index = self._keeper.at(number)
        there = ServerRound.of(config, parameters, index, number, self.data.label_counts)
        sent = as_sent(config, parameters)
        cohort = [self.data.train[place] for place in draw_cohort(config, number, len(self.data.train))]
        members = [
            Member(
                ClientRound(
                    config,
                    self.model,
                    client,
                    number,
                    self.data.sizes,
                    (state.residuals or {}).get(client.name),
                ),
                ClientKeys(number, {}),
            )
            for client in cohort
        ]
        end = RoundEnd(config, state)
        with lack_of_memory(), single_thread():
            ask(there, self.model, sent, members)
            select(there, members)
            together = [member for member in members if member.shares_its_step]
            if together:
                self._add_together(end, there, together, sent)
            for result in self._results([one for one in members if one not in together], sent):
                self._add(end, there, result)
        record = end.finish()
        order = {client.name: place for place, client in enumerate(cohort)}
        return replace(record, reports=sorted(record.reports, key=lambda one: order[one.client]))

    def _add_together(
        self, end: RoundEnd, there: ServerRound, members: Sequence[Member], sent: Parameters
    ) -> None:
        """Clients whose updates' sum is one gradient."""
        sums = {name: torch.zeros_like(table) for name, table in sent.tables.items()}
        batches = [batch for member in members for batch in member.batches_of_all()]
        body, loss = add_shared_step(
            self.model,
            sent,
            batches,
            self.config.client.learning_rate,
            self.task.loss.gradients,
            sums,
            self._space,
        )
        for member in members:
            self._tell(there, member, member.local(sent), 0)
        try:
            end.add_cohort(
                [member.here.report for member in members],
                {name: value.cpu() for name, value in body.items()},
                {name: value.cpu() for name, value in sums.items()},
                [member.here.declared.inputs for member in members],
                loss,
            )
        except HashfedError as error:
            raise type(error)(f"round {there.round}: {error}") from None

    def _results(self, members: Sequence[Member], sent: Parameters) -> Iterator[ClientResult]:
        if self._memory is None:
            self._memory = Memory.of(self.config, self.model)
        for chunk in self._memory.chunks(members, self.model):
            if self._stop():
                raise Interrupted
            yield from train_members(chunk, sent, self.task.loss.stacked, self._memory.most_logits)

    def _add(self, end: RoundEnd, there: ServerRound, result: ClientResult) -> None:
        member, here = result.member, result.member.here
        update = expand(here.compress(result.update)).cpu()
        self._tell(there, member, result.held, result.bounded)
        try:
            accepted = end.accept(update, member.tail)
        except HashfedError as error:
            raise type(error)(f"round {there.round}: client {here.client.name}: {error}") from None
        end.add(here.report, accepted, member.tail, None if here.lost is None else here.lost.cpu())

    def _tell(self, there: ServerRound, member: Member, held: LocalModel, bounded: int) -> None:
        """What a client's round cost, into its report."""
        planes = None if held.planes is None else len(held.planes.offsets)
        inputs = {name: len(rows) for name, rows in held.input_rows.items()}
        member.here.tell(there.encoder, member.rows, len(held.rows), planes, bounded, inputs)
        member.here.report.bytes |= self._traffic.of(there, member, held)

    def evaluate(self, everything: bool = False, stoppable: bool = True) -> dict[str, float]:
        """Metrics of the current model on the held-out clients; see ``Simulation``."""
        parameters = self.state.parameters.to(self.config.device)
        examples, found = self._held_out[everything], []
        with lack_of_memory(), single_thread():
            for chunk in range(chunks(examples)):
                if stoppable and self._stop():
                    raise Interrupted
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
