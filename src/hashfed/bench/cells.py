"""What is measured of one cell of the table, or why it is left out."""

import gc
import math
import statistics
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch

from hashfed.bench.plain_pytorch import train_plainly
from hashfed.bench.timing import Spread, TimeLimit, synchronized
from hashfed.bench.work import Work, steps_of
from hashfed.config import Config
from hashfed.engines.cohort.simulation import CohortSimulation
from hashfed.engines.lack import LackOfMemoryError, lack_of_memory
from hashfed.engines.single_thread import single_thread
from hashfed.errors import ClientDivergedError
from hashfed.federated.divergence import DivergedError
from hashfed.hardware import exceeds_memory
from hashfed.randomness import stream
from hashfed.stopping import Interrupted
from hashfed.tasks.registry import make_task

MOST_ROUNDS = 20
"""Repetitions, of rounds or of clients of the plain loop."""
GRACE = 0.1
"""Of the time limit, after which a round is dropped that takes longer than was expected."""
ROW_COPIES = 6
"""Of all rows on the host: the model, two moments, the sum of a round, its mean, and one in use."""
OUT_OF_MEMORY = "out of memory"


@dataclass(frozen=True)
class Measured:
    """Of a cell.

    Attributes:
        repetitions: that were timed, after one that was not.
        steps_per_second: client-steps.
        rounds_per_second: None where there are no rounds.

    """

    repetitions: int
    steps_per_second: Spread
    rounds_per_second: Spread | None = None

    def to_json(self) -> dict[str, Any]:
        """By name."""
        rounds = self.rounds_per_second
        return {
            "repetitions": self.repetitions,
            "steps_per_second": self.steps_per_second.to_json(),
            **({} if rounds is None else {"rounds_per_second": rounds.to_json()}),
        }


@dataclass(frozen=True)
class LeftOut:
    """Why there are no numbers."""

    reason: str

    def to_json(self) -> dict[str, Any]:
        """By name."""
        return {"left_out": self.reason}


Outcome = Measured | LeftOut


def would_take(seconds: float) -> LeftOut:
    """Said of what does not fit into the time."""
    return LeftOut(f"would take {math.ceil(seconds)} s")


def within_memory(measure: Callable[[], Outcome]) -> Outcome:
    """What ``measure`` finds, unless memory runs out or the training diverges."""
    found: Outcome
    try:
        with lack_of_memory(), single_thread():
            found = measure()
    except LackOfMemoryError:
        found = LeftOut(OUT_OF_MEMORY)
    except (ClientDivergedError, DivergedError) as error:
        found = LeftOut(str(error))
    if torch.cuda.is_initialized():
        # The next cell asks how much is free.
        gc.collect()
        torch.cuda.empty_cache()
    return found


def rounds_of_cohort(work: Work, config: Config, limit: TimeLimit, expected: float, least: int) -> Outcome:
    """Rounds of ``CohortSimulation``, the first of which is not timed.

    Args:
        work: its data.
        config: of the run.
        limit: of all cells; this one takes its share, or what ``least`` rounds need.
        expected: seconds of a round.
        least: rounds that are timed.

    """
    if exceeds_memory(4 * ROW_COPIES * work.rows * work.model.dimension):
        return LeftOut(OUT_OF_MEMORY)
    needed = (1 + least) * expected
    if needed > limit.most:
        return would_take(needed)
    start, share, ran_out = limit.spent, limit.share, False

    def late() -> bool:
        nonlocal ran_out
        ran_out = limit.spent > (1 + GRACE) * limit.seconds
        return ran_out

    steps, seconds = list[int](), list[float]()

    def play(simulation: CohortSimulation) -> float:
        before = synchronized(config.device, limit.clock)
        simulation.run_round()
        return synchronized(config.device, limit.clock) - before

    try:
        with CohortSimulation(config, work.data, late) as simulation:
            last = play(simulation)
            while len(seconds) < MOST_ROUNDS and last <= limit.left:
                if len(seconds) >= least and limit.spent - start + last > share:
                    break
                last = play(simulation)
                seconds.append(last)
                steps.append(steps_of(config, work.drawn(config, simulation.state.round)))
    except Interrupted:
        if not ran_out:
            raise
    if not seconds:
        return would_take((1 + least) * max(expected, limit.spent - start))
    return Measured(
        len(seconds),
        Spread.of([count / each for count, each in zip(steps, seconds, strict=True)]),
        Spread.of([1 / each for each in seconds]),
    )


def clients_of_loop(work: Work, config: Config, limit: TimeLimit, expected: float, least: int) -> Outcome:
    """Clients of the plain loop one after another, all rows; see ``rounds_of_cohort``."""
    needed = (1 + least) * expected
    if needed > limit.most:
        return would_take(needed)
    start, share = limit.spent, limit.share
    parameters, loss = work.parameters.to(config.device), make_task(config.data).loss
    drawn = work.drawn(config, 1)
    speeds, seconds = list[float](), list[float]()
    while len(speeds) < MOST_ROUNDS:
        if seconds and statistics.median(seconds) > limit.left:
            break
        if len(speeds) >= least and limit.spent - start + seconds[-1] > share:
            break
        examples = drawn[len(seconds) % len(drawn)]
        rng = stream(config.seed, "plain", len(seconds))
        before = synchronized(config.device, limit.clock)
        train_plainly(work.model, parameters, examples, config.client, rng, loss)
        seconds.append(synchronized(config.device, limit.clock) - before)
        if len(seconds) > 1:  # the first warms up
            speeds.append(steps_of(config, [examples]) / seconds[-1])
    return Measured(len(speeds), Spread.of(speeds)) if speeds else would_take((1 + least) * seconds[0])
