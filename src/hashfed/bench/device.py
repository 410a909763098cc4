"""All cells of the table: what fits into the time is measured, and what does not is told."""

import platform
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch

from hashfed import __version__
from hashfed.bench import pfl_research
from hashfed.bench.cells import (
    LeftOut,
    Measured,
    Outcome,
    clients_of_loop,
    rounds_of_cohort,
    within_memory,
    would_take,
)
from hashfed.bench.products import REPETITIONS, Products
from hashfed.bench.timing import Clock, TimeLimit
from hashfed.bench.work import Work, predictions_of, steps_of
from hashfed.config import Config
from hashfed.cost.budgets import Budget, budget_label
from hashfed.engines.cohort.supported import check_supported
from hashfed.hardware import processor, usable_cores

FULL_ROWS = 200_000
"""Of the output table; with more nobody trains all of them on a CPU."""
QUICK_ROWS = 100_000
"""With more the model alone takes seconds to set up."""
OVER_PRODUCTS = 2
"""How many times as long as its bare products a round takes, where none is measured yet: so on a CPU."""
ENGINE, PLAIN, PRODUCTS, PEER = "cohort engine", "plain PyTorch", "bare products", pfl_research.NAME


@dataclass(frozen=True)
class Plan:
    """What is to be measured.

    Attributes:
        works: the clients.
        budgets: fractions of the rows, or own rows and others; 1 means all.
        cohorts: clients of a round.
        device: cpu or cuda.
        seconds: for all of it.
        quick: whether models of many rows are left out.

    """

    works: Sequence[Work]
    budgets: Sequence[Budget]
    cohorts: Sequence[int]
    device: str
    seconds: float
    quick: bool

    @property
    def rounds(self) -> list[tuple[Work, int]]:
        """Clients and cohorts in the order in which they are measured: those that take least first."""
        return [(work, cohort) for cohort in sorted(set(self.cohorts)) for work in self.works]

    @property
    def cells(self) -> list[tuple[Work, int, Budget]]:
        """Of the engine, likewise."""
        return [(*round, budget) for round in self.rounds for budget in self.budgets]

    def check(self) -> None:
        """Refuse what could not be measured anyway.

        Raises:
            HashfedError: one line.

        """
        for work in self.works:
            for budget in self.budgets:
                check_supported(work.config(budget, 1, self.device), work.model, 1)


def bench_device(plan: Plan, clock: Clock, tell: Callable[[str], None] = lambda name: None) -> dict[str, Any]:
    """Measure all cells.

    Args:
        plan: what is asked for.
        clock: tells the time.
        tell: told what is measured now.

    Returns:
        What the machine is, ``peers`` by name, with ``version`` or why it is ``left_out``, and ``cells``: of
        each ``what`` was measured, of whose ``clients`` with how many ``rows``, at which ``budget`` and
        ``cohort``, and ``repetitions``, ``steps_per_second`` and ``rounds_per_second``, each with ``median``,
        ``minimum`` and ``maximum``; or why it was ``left_out``.

    """
    plan.check()
    peer = pfl_research.found()
    of_peer = [work.random and "version" in peer for work, _ in plan.rounds]
    limit = TimeLimit(plan.seconds, clock, len(plan.works) + len(plan.cells) + sum(of_peer))
    turns = _Turns(plan, limit, Products(plan.device, clock), tell)
    for work in plan.works:
        turns.plain(work)
    for (work, cohort), with_peer in zip(plan.rounds, of_peer, strict=True):
        for budget in plan.budgets:
            turns.cohort(work, cohort, budget)
        if with_peer:
            turns.peer(work, cohort)
    return {
        **machine(plan.device),
        "quick": plan.quick,
        "seconds": limit.spent,
        "peers": {PEER: peer},
        "cells": turns.found,
    }


def machine(device: str) -> dict[str, Any]:
    """What measures, and on what."""
    on_gpu = device == "cuda"
    return {
        "hashfed": __version__,
        "machine": {
            "system": f"{platform.system()} {platform.machine()}",
            "processor": processor(),
            "cores": usable_cores(),
            "python": platform.python_version(),
        },
        "torch": torch.__version__,
        "device": {
            "kind": device,
            "name": torch.cuda.get_device_name() if on_gpu else processor(),
            "memory": torch.cuda.get_device_properties(0).total_memory if on_gpu else None,
        },
    }


@dataclass
class _Turns:
    """Measures one cell after another.

    Attributes:
        plan: what is asked for.
        limit: of the time.
        products: known so far.
        tell: told what is measured now.
        found: cells as they are written.

    """

    plan: Plan
    limit: TimeLimit
    products: Products
    tell: Callable[[str], None]
    found: list[dict[str, Any]] = field(default_factory=list)
    _seconds: dict[tuple[str, int, str], float] = field(default_factory=dict)
    """Of a round over its clients, by whose they are, rows and budget: as measured last, or as expected."""
    _loops: dict[int, Outcome] = field(default_factory=dict)
    """Plain, of random clients, by rows."""
    _peer_left_out: dict[int, LeftOut] = field(default_factory=dict)
    """What became of it, by rows: with more clients it would be no better."""

    def plain(self, work: Work) -> None:
        """The plain loop on the clients of the largest cohort that there is."""
        found = self._plain(work)
        if work.random:
            self._loops[work.rows] = found
        self._note(PLAIN, work, 1.0, 1, found)
        self.limit.cells -= 1

    def _plain(self, work: Work) -> Outcome:
        if (reason := self._unwanted(work, 1.0)) is not None:
            return LeftOut(reason)
        self.tell(f"{work.clients}, {work.rows:,} rows: {PLAIN}")
        config = work.config(1.0, min(max(self.plan.cohorts), len(work.data.train)), self.plan.device)
        floor = self._floor(work, config, 1)
        if isinstance(floor, LeftOut):
            return floor
        steps = steps_of(config, work.drawn(config, 1)) / config.cohort
        expected = OVER_PRODUCTS * steps / floor.steps_per_second.median
        return within_memory(config, lambda: clients_of_loop(work, config, self.limit, expected))

    def cohort(self, work: Work, cohort: int, budget: Budget) -> None:
        """A cell of the engine, and the bare products of the same work."""
        reason, about = self._unwanted(work, budget), dict[str, int]()
        if reason is None and cohort > len(work.data.train):
            reason = f"there are {len(work.data.train):,} training clients"
        found: Outcome
        floor: Outcome
        if reason is not None:
            found = floor = LeftOut(reason)
        else:
            self.tell(f"{work.clients}, {work.rows:,} rows, {budget_label(budget)}: cohort {cohort}")
            config = work.config(budget, cohort, self.plan.device)
            drawn = work.drawn(config, 1)
            about = {"steps": steps_of(config, drawn), "predictions": predictions_of(config, drawn)}
            found, floor = self._cohort(work, config, budget, about["steps"])
        self._note(ENGINE, work, budget, cohort, found, **about)
        self._note(PRODUCTS, work, budget, cohort, floor, **about)
        self.limit.cells -= 1

    def _cohort(self, work: Work, config: Config, budget: Budget, steps: int) -> tuple[Outcome, Outcome]:
        """Of the engine, and of the products."""
        key, cohort = (work.clients, work.rows, budget_label(budget)), config.cohort
        floor: Outcome | None = None
        if key not in self._seconds:
            floor = self._floor(work, config, cohort)
            if isinstance(floor, LeftOut):
                return floor, floor
            self._seconds[key] = OVER_PRODUCTS * steps / floor.steps_per_second.median / cohort
        expected = self._seconds[key] * cohort
        if expected > self.limit.most:
            found = would_take(expected)
            return found, floor or found
        floor = floor or self._floor(work, config, cohort)
        found_rounds = within_memory(config, lambda: rounds_of_cohort(work, config, self.limit, expected))
        if isinstance(found_rounds, Measured) and found_rounds.rounds_per_second is not None:
            self._seconds[key] = 1 / found_rounds.rounds_per_second.median / cohort
        return found_rounds, floor

    def peer(self, work: Work, cohort: int) -> None:
        """A cell of pfl-research: random clients, all rows."""
        found = self._peer(work, cohort)
        self._note(PEER, work, 1.0, cohort, found)
        self.limit.cells -= 1

    def _peer(self, work: Work, cohort: int) -> Outcome:
        if (reason := self._unwanted(work, 1.0)) is not None:
            return LeftOut(reason)
        if work.rows in self._peer_left_out:
            return self._peer_left_out[work.rows]
        loop = self._loops[work.rows]
        if isinstance(loop, LeftOut):
            return LeftOut(f"as {PLAIN} is")
        config = work.config(1.0, cohort, self.plan.device)
        drawn = work.drawn(config, 1)
        seconds = steps_of(config, drawn) / loop.steps_per_second.median
        if (expected := pfl_research.least_seconds(seconds)) > self.limit.most:
            return would_take(expected)
        self.tell(f"{work.clients}, {work.rows:,} rows: {PEER}, cohort {cohort}")
        found = pfl_research.rounds(config, work.parameters, drawn, self.limit, seconds)
        if isinstance(found, LeftOut):
            self._peer_left_out[work.rows] = found
        return found

    def _unwanted(self, work: Work, budget: Budget) -> str | None:
        """Why it is not even tried."""
        if self.plan.quick and work.rows > QUICK_ROWS:
            return "--quick"
        if budget == 1 and work.rows > FULL_ROWS and self.plan.device == "cpu":
            return f"all rows are trained up to {FULL_ROWS:,} on a CPU"
        if self.limit.left == 0:
            return "no time was left"
        return None

    def _floor(self, work: Work, config: Config, clients: int) -> Outcome:
        """The bare products of a mean step."""
        drawn = work.drawn(config, 1)
        positions = max(1, round(predictions_of(config, drawn) / steps_of(config, drawn)))
        rows, dimension = work.held_rows(config), work.model.dimension

        def measure() -> Outcome:
            speed = self.products.steps_per_second(work.layers(), rows, dimension, positions, clients)
            return Measured(REPETITIONS, speed)

        return within_memory(config, measure)

    def _note(
        self, what: str, work: Work, budget: Budget, cohort: int, outcome: Outcome, **about: int
    ) -> None:
        cell = {
            "what": what,
            "clients": work.clients,
            "rows": work.rows,
            "budget": budget_label(budget),
            "cohort": cohort,
        }
        self.found.append({**cell, **about, **outcome.to_json()})
