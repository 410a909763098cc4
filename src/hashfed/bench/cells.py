"""What is measured of one cell of the table, or why it is left out."""

import gc
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from hashfed.bench.plain_pytorch import train_plainly
from hashfed.bench.timing import Spread, TimeLimit, synchronized
from hashfed.bench.work import Work, steps_of
from hashfed.config import Config
from hashfed.engines.cohort.arithmetic import arithmetic
from hashfed.engines.cohort.simulation import CohortSimulation
from hashfed.engines.lack import LackOfMemoryError, lack_of_memory
from hashfed.engines.single_thread import single_thread
from hashfed.errors import ClientDivergedError
from hashfed.federated.divergence import DivergedError
from hashfed.hardware import exceeds_memory
from hashfed.randomness import stream
from hashfed.stopping import Interrupted
from hashfed.tasks.examples import Examples
from hashfed.tasks.registry import make_task

MOST_ROUNDS = 20
"""Repetitions, of rounds or of clients of the plain loop."""
WARMING = 2
"""Clients of the round that warms up a CPU: memory and kernels, which one of all would not do better."""
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
        padding: share of the predictions that were computed and are none, in the last round; None likewise.

    """

    repetitions: int
    steps_per_second: Spread
    rounds_per_second: Spread | None = None
    padding: float | None = None

    def to_json(self) -> dict[str, Any]:
        """By name."""
        rounds = self.rounds_per_second
        return {
            "repetitions": self.repetitions,
            "steps_per_second": self.steps_per_second.to_json(),
            **({} if rounds is None else {"rounds_per_second": rounds.to_json()}),
            **({} if self.padding is None else {"padding": self.padding}),
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


def within_memory(config: Config, measure: Callable[[], Outcome]) -> Outcome:
    """What ``measure`` finds in the configured precision, unless memory runs out or training diverges."""
    found: Outcome
    try:
        with lack_of_memory(), single_thread(), arithmetic(config):
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


def rounds_of_cohort(work: Work, config: Config, limit: TimeLimit, expected: float) -> Outcome:
    """Rounds of ``CohortSimulation``, after one that is not timed; on a CPU that is one of few clients.

    Args:
        work: its data.
        config: of the run.
        limit: of all cells; this one takes its share, or what one round needs.
        expected: seconds of a round.

    """
    if exceeds_memory(4 * ROW_COPIES * work.rows * work.model.dimension):
        return LeftOut(OUT_OF_MEMORY)
    if expected > limit.most:
        return would_take(expected)
    start, share, ran_out = limit.spent, limit.share, False

    def late() -> bool:
        nonlocal ran_out
        ran_out = limit.spent > (1 + GRACE) * limit.seconds
        return ran_out

    steps, seconds, padding = list[int](), list[float](), 0.0

    def play(simulation: CohortSimulation) -> float:
        nonlocal padding
        before = synchronized(config.device, limit.clock)
        padding = simulation.run_round().padding or 0.0
        return synchronized(config.device, limit.clock) - before

    try:
        if config.device == "cpu":
            few = config.model_copy(update={"cohort": min(WARMING, config.cohort)})
            with CohortSimulation(few, work.data, late) as simulation:
                play(simulation)
        with CohortSimulation(config, work.data, late) as simulation:
            last = expected if config.device == "cpu" else play(simulation)
            while len(seconds) < MOST_ROUNDS and last <= limit.left:
                if seconds and limit.spent - start + last > share:
                    break
                last = play(simulation)
                seconds.append(last)
                steps.append(steps_of(config, work.drawn(config, simulation.state.round)))
    except Interrupted:
        if not ran_out:
            raise
    if not seconds:
        return would_take(max(expected, limit.spent - start))
    return Measured(
        len(seconds),
        Spread.of([count / each for count, each in zip(steps, seconds, strict=True)]),
        Spread.of([1 / each for each in seconds]),
        padding,
    )


def clients_of_loop(work: Work, config: Config, limit: TimeLimit, expected: float) -> Outcome:
    """Clients of the plain loop one after another, all rows, after a step that is not timed.

    Arguments are those of ``rounds_of_cohort``; seconds of a client.
    """
    if expected > limit.most:
        return would_take(expected)
    start, share = limit.spent, limit.share
    parameters, loss = work.parameters.to(config.device), make_task(config.data).loss
    drawn = work.drawn(config, 1)

    def play(examples: Examples) -> float:
        rng = stream(config.seed, "plain")
        before = synchronized(config.device, limit.clock)
        train_plainly(work.model, parameters, examples, config.client, rng, loss)
        return synchronized(config.device, limit.clock) - before

    play(drawn[0].take(np.arange(min(config.client.batch_size, len(drawn[0])))))
    speeds, last = list[float](), expected
    while len(speeds) < MOST_ROUNDS and last <= limit.left:
        if speeds and limit.spent - start + last > share:
            break
        examples = drawn[len(speeds) % len(drawn)]
        last = play(examples)
        speeds.append(steps_of(config, [examples]) / last)
    return Measured(len(speeds), Spread.of(speeds)) if speeds else would_take(expected)
