"""The server in a round in which it learns sums alone: what all clients get, and what their sum says."""

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import torch

from hashfed.config import Config
from hashfed.engines.client_report import ClientReport
from hashfed.engines.common_plan import nobody
from hashfed.errors import ClientDivergedError, HashfedError
from hashfed.federated.common_plan import CommonPlan
from hashfed.federated.common_state import CommonState
from hashfed.federated.messages import Common, check_change
from hashfed.federated.privacy.quantise import levels
from hashfed.federated.server import cut_to_budget
from hashfed.federated.sum_layout import BODY, LOSS_UNIT, POINTS, SATURATED, TABLE, TAIL
from hashfed.federated.sums import SummedUpdates
from hashfed.federated.tail import check_tail_change
from hashfed.models import Parameters
from hashfed.randomness import stream
from hashfed.retrieval import Index, Selection
from hashfed.retrieval.common_planes import CommonPlanes, make_common_planes
from hashfed.retrieval.planes import Tail
from hashfed.retrieval.stacked_planes import StackedTails


@dataclass(frozen=True)
class CommonRound:
    """The server's part.

    Attributes:
        config: of the run.
        parameters: the model before this round.
        index: of a method that asks for no keys.
        round: its number.
        state: of the sums before.
        plan: of the run.

    """

    config: Config
    parameters: Parameters
    index: Index
    round: int
    state: CommonState
    plan: CommonPlan

    @cached_property
    def selection(self) -> Selection:
        """U, drawn with the same random numbers for all."""
        size, dimension = self.parameters.rows.shape
        if self.plan.rows == size:
            return Selection.all(size)
        rng = stream(self.config.seed, "select", self.round)
        candidates = self.index.lookup({})
        return cut_to_budget(
            candidates, nobody(self.round, size), size, dimension, self.config.selection, rng
        )

    @cached_property
    def planes(self) -> tuple[CommonPlanes, Tail] | None:
        """Of the rows that are not in U with certainty."""
        if self.state.centroids is None:
            return None
        gram = self.config.server.clip is not None
        return make_common_planes(self.parameters.rows, self.state.centroids, self.selection, gram)

    @cached_property
    def message(self) -> Common:
        """What all clients get."""
        selection, made = self.selection, self.planes
        everything = len(selection.ids) == len(self.parameters.rows)
        message = Common(
            self.round,
            self.parameters.body,
            self.parameters.rows,
            None if everything else selection.ids.astype(np.int32),
            selection.log_weight if selection.log_weight.any() else None,
            self.state.ranges.numpy().copy(),
            input_rows=self.parameters.inputs,
        )
        if made is None:
            return message
        planes, tail = made
        return replace(
            message,
            centroids=planes.points,
            log_sums=planes.log_sums,
            slopes=planes.slopes,
            gram=tail.gram,
        )

    def read(self, total: np.ndarray, clients: int) -> "CohortSum":
        """What a sum over ``clients`` clients says.

        Args:
            total: (length,) int32, of what each of them added.
            clients: how many they are.

        Raises:
            HashfedError: where the sum is one that no such clients can have made.

        """
        numbers, counts = self.plan.layout.read(total, self.state.ranges.numpy())
        left = clients - counts["diverged"]
        if left == 0:
            raise ClientDivergedError(
                f"round {self.round}: the training of all {clients} clients diverged: lower "
                "client.learning_rate or server.learning_rate, or set client.clip"
            )
        most = left * self.plan.predictions
        if not (0 < left <= clients and left <= counts["predictions"] <= most):
            raise HashfedError(
                f"round {self.round}: a sum over {clients} clients with {counts['predictions']} predictions, "
                f"{counts['diverged']} of them diverged: none that they can have made, so it is not used. "
                "The next cohort, or another seed, may do better"
            )
        return CohortSum(self, numbers, counts, clients)


@dataclass(frozen=True)
class CohortSum:
    """All that the server learns of a round.

    Attributes:
        there: the server.
        numbers: the sum (``SumLayout.read``).
        counts: sums by name (``SumLayout.counts``).
        clients: how many added.

    """

    there: CommonRound
    numbers: np.ndarray
    counts: Mapping[str, int]
    clients: int

    def updates(self) -> SummedUpdates:
        """As what one client of the whole weight changed; where weights are uniform, as many clients.

        Rows of which the sum is zero count as held by nobody.

        Raises:
            HashfedError: where a change would ruin the model.

        """
        there, parts = self.there, self.there.plan.layout.split(self.numbers)
        uniform = there.config.server.weighting == "uniform"
        entries = self.clients - self.diverged if uniform else 1
        weight = float(entries if uniform else self.counts["predictions"])
        for name, part in parts.items():
            if name not in POINTS:
                with self._named():
                    check_change(name, part / weight)
        tables: dict[str, tuple[torch.Tensor | None, torch.Tensor]] = {}
        held: dict[str, np.ndarray | None] = {}
        for name, table in there.parameters.tables.items():
            changes = parts[f"{TABLE}{name}"]
            ids = np.arange(len(table)) if len(changes) == len(table) else there.selection.ids
            some = changes.any(1)
            held[name] = ids[some.numpy()]
            tables[name] = torch.from_numpy(held[name]), changes[some]
        tails = None
        if there.planes is not None:
            with self._named():
                check_tail_change(there.planes[1], parts[TAIL] / weight)
            tails = StackedTails.stack([there.planes[1]]), parts[TAIL][None].clone()
        predictions = self.counts["predictions"]
        return SummedUpdates(
            # Copies: they are divided in place, and the ranges of the next round follow the sum.
            {name.removeprefix(BODY): part.clone() for name, part in parts.items() if name.startswith(BODY)},
            tables,
            [held] * entries,
            tails,
            [predictions // entries] * (entries - 1) + [predictions - predictions // entries * (entries - 1)],
            self.counts["loss"] * LOSS_UNIT,
        )

    @contextmanager
    def _named(self) -> Iterator[None]:
        """What is wrong in this block is wrong with the sum of a round: nobody knows whose part it is."""
        try:
            yield
        except HashfedError as error:
            raise type(error)(f"round {self.there.round}: the cohort's sum {error}") from None

    @property
    def diverged(self) -> int:
        """Clients whose training diverged, and who added nothing."""
        return self.counts["diverged"]

    @property
    def rounding(self) -> float:
        """About by how much the norm of the mean change can be off, for numbers were rounded."""
        there, layout = self.there, self.there.plan.layout
        steps = there.state.ranges.numpy() / levels(layout.bits)
        squares = sum(
            step**2 / 4 * (part.stop - part.start)
            for (name, part), step in zip(layout.parts.items(), steps.tolist(), strict=True)
            if name.startswith((BODY, TABLE)) or name == TAIL
        )
        uniform = there.config.server.weighting == "uniform"
        weight = self.clients - self.diverged if uniform else self.counts["predictions"]
        return math.sqrt(self.clients * squares) / weight

    def follow(self) -> None:
        """Change the state to what this sum tells for the next round."""
        there = self.there
        layout, rng = there.plan.layout, stream(there.config.seed, "points", there.round)
        cut = [
            self.counts[f"{SATURATED}{name}"] / (self.clients * max(1, part.stop - part.start))
            for name, part in layout.parts.items()
        ]
        there.state.follow(layout, self.numbers, np.array(cut), there.plan.caps, rng)

    @property
    def saturated(self) -> float:
        """Share of the numbers that were beyond their range, and cut."""
        layout = self.there.plan.layout
        found = sum(self.counts[f"{SATURATED}{name}"] for name in layout.shapes)
        return found / (self.clients * layout.reals)

    def reports(self, names: Sequence[str], sizes: Mapping[str, int]) -> list[ClientReport]:
        """What each client's round cost as far as anybody knows: the mean of all.

        Args:
            names: of the clients.
            sizes: bytes of each client's messages by kind, which are the same for all.

        """

        def mean(name: str) -> int:
            return round(self.counts[name] / self.clients)

        return [
            ClientReport(
                name,
                dict(sizes),
                own_rows=mean("own"),
                rows=mean("rows"),
                parameters=mean("parameters"),
                predictions=mean("predictions"),
                bounded=None if self.there.planes is None else mean("bounded"),
                flops=mean("megaflops") * 10**6,
            )
            for name in names
        ]
