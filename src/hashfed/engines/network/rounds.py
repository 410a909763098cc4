"""Federated rounds over a network, with the interface of ``Simulation``."""

import math
import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from typing import Any, Self

from hashfed.config import Config
from hashfed.engines.budget import build_model, device_budget, steps
from hashfed.engines.evaluation import (
    NotEvaluatedError,
    evaluate_examples,
    finish_evaluation,
    held_out_examples,
)
from hashfed.engines.index_keeper import IndexKeeper, refreshed
from hashfed.engines.mapped import MAPPED
from hashfed.engines.network.exchanges import EVALUATE, JOIN
from hashfed.engines.network.lockstep_play import Cohort, LockstepPlay
from hashfed.engines.network.members import Members
from hashfed.engines.network.parcel import Parcel
from hashfed.engines.network.play import TooFewAnsweredError as TooFewAnsweredError
from hashfed.engines.network.post import Post, Reply, shorten
from hashfed.engines.network.replies import open_reply
from hashfed.engines.network.round_play import (
    Begun,
    RoundPlay,
    slices_folder,
    slices_place,
)
from hashfed.engines.round_end import RoundEnd
from hashfed.engines.rounds import RoundRecord, draw_cohort
from hashfed.engines.server_round import ServerRound
from hashfed.engines.single_thread import single_thread
from hashfed.engines.slice_store import FolderStore
from hashfed.engines.state import ServerState
from hashfed.errors import HashfedError
from hashfed.federated.messages import Broadcast, Message
from hashfed.federated.protocols import in_lockstep
from hashfed.federated.slices import Wanted
from hashfed.models.protocol import OUTPUT
from hashfed.retrieval import Index
from hashfed.tasks.federated_data import FederatedData
from hashfed.tasks.metrics import Sums, add_sums
from hashfed.tasks.registry import make_task

ATTEMPTS = 3
"""Times that a round is begun before the run ends, where too few clients answer."""


GRACE_SECONDS = 30.0
"""For which nodes that are just joining are waited for, though enough have joined."""


def check_config(config: Config) -> None:
    """Refuse settings that do not go together over a network.

    Raises:
        HashfedError: naming them.

    """
    if config.selection.delivery == "secure" and not config.secure.masks:
        raise HashfedError(
            "secure.masks = false: must be true over a network, whose server would see what each client adds "
            "(false: in a simulation alone)"
        )
    if config.device != "cpu":
        raise HashfedError(f"device = {config.device}: must be cpu over a network, where nodes train")
    if (size := make_task(config.data).sizes.get(OUTPUT)) is not None:
        device_budget(config, size)  # rather here than by every client
    every = config.checkpoint_every or 1
    if config.compression.error_feedback and every > 1:
        # A client keeps what its last two updates lost; a server that goes back further finds neither.
        raise HashfedError(
            f"checkpoint_every = {every}: must be 1 (or none) with compression.error_feedback over a "
            "network, or a run that is resumed would have other bits"
        )


def without_effect(config: Config) -> list[str]:
    """Lines about settings that were made and change nothing over a network."""
    found = []
    if config.workers is not None:
        found.append(
            f"workers = {config.workers}: without effect over a network, where nodes train, not workers"
        )
    if config.engine != "auto":
        found.append(f"engine = {config.engine}: without effect over a network, where nodes train")
    return found


class NetworkRounds:
    """A server whose clients are on other machines.

    Attributes:
        state: the server's state after the last finished round.
        remote: True: clients are elsewhere.

    """

    remote = True

    def __init__(
        self,
        post: Post,
        config: Config,
        data: FederatedData[Any],
        say: Callable[[str], None] = lambda line: None,
    ) -> None:
        """Set up round 0.

        Args:
            post: to the nodes.
            config: of the run.
            data: the server's own: names of rows, public counts, and held-out clients to evaluate on; the
                training clients may be on the nodes alone.
            say: told what a person who watches the run wants to know.

        Raises:
            HashfedError: where settings do not go together over a network, or tables cannot be mapped.

        """
        check_config(config)
        device_budget(config, data.size)
        self.config, self.data, self._say = config, data, say
        self.model, self.task = build_model(config), make_task(config.data)
        self.state = ServerState.fresh(self.model, data.sizes, config)
        self._tables = self.state.map_files(config.folder() / MAPPED) if config.memory_map else {}
        self._post = post
        self._members = Members(config.flower.patience, config.flower.clients_per_node, say)
        self._keeper: IndexKeeper | None = None
        self._following: Begun | None = None
        self._following_cohort: Cohort | None = None
        self._begun = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for table in self._tables.values():
            table.delete()

    def run_round(self) -> RoundRecord:
        """One round; the state changes only once enough clients have answered.

        Raises:
            HashfedError: where too few clients have joined, or answered in three attempts.
            DivergedError: where the server's step left no usable model; nor is the state one.
            Interrupted: on a stop; the state is as before.

        """
        self._begin()
        left_out: set[int] = set()
        for attempt in range(1, ATTEMPTS + 1):
            try:
                return self._play(self.state.round + 1, left_out)
            except TooFewAnsweredError as error:
                self._say(f"{error}; attempt {attempt} of {ATTEMPTS}")
                if attempt == ATTEMPTS:
                    raise
                self._following = self._following_cohort = None
                left_out |= set(error.erring)
                # Those who are gone for good must not hold up the others.
                self._wait_for_clients(self._least(self.config.cohort))
        raise AssertionError("unreachable")

    def _begin(self) -> None:
        if not self._begun:
            self._wait_for_clients(self.config.flower.clients or self.config.cohort)
            self._begun = True

    def _least(self, asked: int) -> int:
        """How many of so many clients must answer."""
        return max(1, math.ceil(self.config.flower.minimum_share * asked))

    def _wait_for_clients(self, wanted: int) -> None:
        """Until so many clients have joined."""
        start, told = time.monotonic(), -1
        end = start + self.config.flower.patience
        while True:
            self._members.look(self._post, self.state.round)
            for reply in self._post.collect():
                if reply.kind == JOIN:
                    self._members.answer(reply)
            enough = len(self._members.train) >= wanted
            # Others who are just joining are waited for, so that the first cohort is drawn among all.
            if enough and (not self._post.waits_for_any(JOIN) or time.monotonic() > start + GRACE_SECONDS):
                break
            if len(self._members.train) != told:
                told = len(self._members.train)
                self._say(f"{told} clients have joined, {wanted} are needed")
            if not enough and time.monotonic() >= end:
                why = "".join(f"; node {node}: {text}" for node, text in self._members.refused.items())
                raise HashfedError(
                    f"only {told} of {wanted} clients have joined within {self.config.flower.patience:g} s "
                    "(flower.patience; flower.clients, or cohort, says how many, and after a round in which "
                    f"too few answered flower.minimum_share of the cohort){why}"
                )
            self._post.rest()

    def _play(self, number: int, left_out: Collection[int]) -> RoundRecord:
        start, down, up = time.perf_counter(), self._post.transport.down, self._post.transport.up
        if refreshed(number, self.config.retrieval.rebuilt_every) == number:
            self.state.refresh()
        # Of a broadcast, clients build the index themselves.
        index = None if self.config.selection.delivery == "broadcast" else self._index(number)
        indexed = time.perf_counter()
        play_it = self._play_in_lockstep if in_lockstep(steps(self.config)) else self._play_by_client
        record = play_it(number, index, left_out)
        for name, reason in sorted(record.failed.items()):
            self._say(f"round {number}: client {name}: {reason}")
        wire_bytes = {"down": self._post.transport.down - down, "up": self._post.transport.up - up}
        return replace(record, wire_bytes=wire_bytes, seconds=record.seconds | {"index": indexed - start})

    def _play_by_client(self, number: int, index: Index | None, left_out: Collection[int]) -> RoundRecord:
        """A round in which each client goes on by itself."""
        config, state, start = self.config, self.state, time.perf_counter()
        begun = self._following
        if begun is None or begun.round != number:
            begun = self._draw(number, left_out)
        following = None
        if number < config.rounds and steps(config)[0].ahead:
            following = self._following = self._draw(number + 1)
        server = ServerRound.of(config, state.parameters, index, number, self.data.label_counts)
        manifest = self._publish(server)
        published = time.perf_counter()
        end = RoundEnd(config, state)
        play = RoundPlay(
            config,
            self._post,
            self._members,
            server,
            end,
            begun,
            following,
            manifest=manifest,
            used=state.used,
        )
        with single_thread():
            for update in play.updates():
                end.add(*update)
                del update  # its memory is free before the next one is waited for
            self._check_enough(play)
            answered = time.perf_counter()
            record = end.finish()
        seconds = {
            **play.seconds,
            **({} if manifest is None else {"publish": published - start}),
            "exchanges": answered - published,
            "step": time.perf_counter() - answered,
        }
        return replace(record, failed=dict(sorted(play.failed.items())), seconds=seconds)

    def _play_in_lockstep(self, number: int, index: Index | None, left_out: Collection[int]) -> RoundRecord:
        """A round whose steps all clients make together, and which leaves their sum."""
        config, state, start = self.config, self.state, time.perf_counter()
        cohort = self._following_cohort
        if cohort is None or cohort.server.round != number or len(cohort.summed) < self._least_of(cohort):
            cohort = Cohort(self._server_of_cohort(number, index, self._draw(number, left_out).cohort))
        else:
            server = self._server_of_cohort(number, index, cohort.server.cohort)
            cohort.server = replace(server, begun=cohort.server.session)
        self._following_cohort = following = None
        if number < config.rounds and steps(config)[0].ahead:
            # Its first steps need no more of a model than its shape, which is that of this round's.
            following = Cohort(self._server_of_cohort(number + 1, index, self._draw(number + 1).cohort))
        end, least = RoundEnd(config, state), self._least_of(cohort)
        play = LockstepPlay(config, self._post, self._members, end, cohort, following, least)
        with single_thread():
            play.play()
            answered = time.perf_counter()
            record = end.finish_sum(cohort.server, cohort.sizes, {})
        self._following_cohort = play.following
        for name in sorted(set(cohort.failed) - set(cohort.missing)):
            self._say(f"round {number}: client {name}, whose answer is in the sum: {cohort.failed[name]}")
        seconds = {
            **play.seconds,
            "exchanges": answered - start,
            "step": time.perf_counter() - answered,
        }
        return replace(record, failed=cohort.missing, seconds=seconds)

    def _least_of(self, cohort: Cohort) -> int:
        return self._least(len(cohort.server.cohort))

    def _server_of_cohort(self, number: int, index: Index | None, names: Sequence[str]) -> ServerRound:
        state, prior = self.state, self.data.label_counts
        return ServerRound.of(self.config, state.parameters, index, number, prior, state.known, names)

    def _publish(self, server: ServerRound) -> tuple[str, Wanted] | None:
        """Write the round's slices; where clients find them, and their manifest. None where rows are sent."""
        if self.config.selection.delivery != "pre-generated":
            return None
        store = FolderStore(slices_folder(self.config))
        return slices_place(self.config), server.publish(store)

    def _check_enough(self, play: RoundPlay) -> None:
        """Refuse a round with too few updates, before anything is changed."""
        asked = len(play.begun.cohort)
        wanted = self._least(asked)
        answered = asked - len(play.failed)
        if answered < wanted:
            why = "; ".join(f"client {name}: {reason}" for name, reason in sorted(play.failed.items()))
            raise TooFewAnsweredError(
                f"round {play.round}: {answered} of {asked} clients answered, flower.minimum_share = "
                f"{self.config.flower.minimum_share:g} asks for {wanted}: {why}",
                play.erring,
            )

    def _draw(self, number: int, left_out: Collection[int] = ()) -> Begun:
        """The cohort among those who are there: with all training clients, that of the simulator.

        Without the clients of some nodes, unless too few remain.
        """
        names = [name for name in self._members.train if self._members.node(name) not in left_out]
        if len(names) < self._least(self.config.cohort):
            names = self._members.train
        return Begun(number, [names[c] for c in draw_cohort(self.config, number, len(names))])

    def _index(self, number: int) -> Index:
        if self._keeper is None:
            self._keeper = IndexKeeper.of(self.config, self.state, self.data.label_counts)
        return self._keeper.at(number)

    def evaluate(self, everything: bool = False, stoppable: bool = True) -> dict[str, float]:
        """Metrics of the current model on held-out clients.

        Args:
            everything: on as many as at the end, ``config.evaluation.final_examples``, instead of
                ``config.evaluation.examples``.
            stoppable: as in the simulator; here a stop always ends waiting for nodes.

        Raises:
            Interrupted: on a stop while nodes evaluate.
            NotEvaluatedError: where the nodes evaluate and none answers.
            DivergedError: where a metric is not finite.

        """
        with single_thread():
            on_nodes = self.config.flower.evaluation == "clients"
            sums = self._evaluate_on_nodes() if on_nodes else self._evaluate_here(everything)
        return finish_evaluation(self.task.metrics, sums, self.state.round, self.config)

    def _evaluate_here(self, everything: bool) -> Sums:
        evaluation = self.config.evaluation
        most = evaluation.final_examples if everything else evaluation.examples
        examples = held_out_examples(self.data.held_out, most, self.config.seed)
        return evaluate_examples(self.model, self.state.parameters, self.task.metrics, examples)

    def _evaluate_on_nodes(self) -> Sums:
        """Sums over the held-out clients of all nodes that answer in time, added in order of names."""
        self._begin()  # a run may have come back for its last evaluation alone
        everything = Broadcast.of(self.state.round, self.state.parameters, None)
        shared: dict[str, Message] = {Broadcast.kind: everything}
        content = self._post.transport.pack(Parcel(self.state.round, shared=shared))
        waiting: dict[str, int] = {}
        for node, names in self._members.hosts_of_held_out().items():
            keep = self.config.flower.deadline + 60
            waiting[self._post.send(node, EVALUATE, self.state.round, content, keep, names)] = node
        end = time.monotonic() + self.config.flower.deadline
        sums: dict[str, Sums] = {}
        others: list[Reply] = []
        while waiting and time.monotonic() < end:
            self._members.look(self._post, self.state.round)
            for reply in self._post.collect():
                if reply.kind == JOIN:
                    self._members.answer(reply)
                    continue
                if reply.message in waiting:
                    del waiting[reply.message]
                    sums |= self._sums(reply)
                elif not reply.gone and reply.kind != EVALUATE:
                    others.append(reply)  # declarations for the round to come
                if reply.gone:
                    self._post.forget(reply.node)
                    self._members.lose(reply.node)
                    others = [other for other in others if other.node != reply.node]
                    waiting = {name: node for name, node in waiting.items() if node != reply.node}
            self._post.rest()
        self._post.put_back(others)
        for node in waiting.values():
            self._post.forget(node)
            self._members.lose(node)
            self._say(f"evaluation: node {node}: no answer within {self.config.flower.deadline:g} s")
        if not sums:
            text = "flower.evaluation = clients: no node evaluated a held-out client (allowed: server)"
            self._say(f"evaluation after round {self.state.round}: {text}")
            raise NotEvaluatedError(text)
        return add_sums(sums[name] for name in sorted(sums))

    def _sums(self, reply: Reply) -> dict[str, Sums]:
        """By client; those that are none are told and left out."""
        found = {}
        try:
            parcel = open_reply(reply)
        except HashfedError as error:
            self._say(f"evaluation: node {reply.node}: {error}")
            return {}
        most = self.task.most_predictions(None)
        for name in reply.clients:
            try:
                if name not in parcel.reports:
                    raise HashfedError(parcel.problems.get(name, "no sums in its answer"))
                found[name] = self.task.metrics.check(parcel.reports[name], most)
            except HashfedError as error:
                self._say(f"evaluation: client {name}: {shorten(str(error))}")
        return found
