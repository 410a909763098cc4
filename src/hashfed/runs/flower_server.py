"""The server's side on Flower: a ServerApp that trains into a run folder as ``hashfed train`` does.

Its run folder is on the machine of the SuperLink. A new run with the same configuration goes on from the
last round that is saved there.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from logging import ERROR, INFO
from typing import Any

import httpx
from flwr.app import Context
from flwr.common.logger import log
from flwr.serverapp import Grid, ServerApp
from flwr.supercore.run import RunNotRunningException

from hashfed.config import Config
from hashfed.deploy.app_folder import config_of
from hashfed.display import printable
from hashfed.engines.evaluation import NotEvaluatedError
from hashfed.engines.flower.rounds import FlowerRounds
from hashfed.engines.lack import lack_of_memory
from hashfed.engines.network.rounds import without_effect
from hashfed.engines.rounds import RoundRecord
from hashfed.errors import HashfedError, warnings_told
from hashfed.runs.reading import told_in_lines
from hashfed.runs.train import load_data, train
from hashfed.stopping import Interrupted
from hashfed.tasks.federated_data import FederatedData
from hashfed.tasks.presentation import Measure
from hashfed.tasks.registry import make_task

app = ServerApp()


class LoggedProgress:
    """A line per round in Flower's log, which ``hashfed serve`` and ``flwr log`` show."""

    def __init__(self, measures: Sequence[Measure]) -> None:
        """Show these of each evaluation."""
        self._measures, self._rounds = measures, 0

    def start(self, done: int, rounds: int) -> None:
        """Where it begins."""
        self._rounds = rounds
        say(f"training from round {done} to {rounds}" if done < rounds else f"all {rounds} rounds are done")

    def round(self, metrics: dict[str, Any]) -> None:
        """What came out of a round."""
        line = f"round {metrics['round']} of {self._rounds}: {metrics['clients']} clients"
        failed = metrics.get("failed", {})
        if failed:
            line += f", {len(failed)} failed"
        line += f", training loss {metrics['train_loss']:.3f}"
        if "evaluation" in metrics:
            found = metrics["evaluation"]
            values = (f"{measure.key} {measure.text(found[measure.key])}" for measure in self._measures)
            line += f", held-out {', '.join(values)}"
        say(line)

    def finish(self) -> None:
        """Nothing."""


def say(line: str) -> None:
    """A line in Flower's log."""
    log(INFO, "hashfed: %s", printable(line))


class StoppableRounds(FlowerRounds):
    """Rounds of a run that Flower may stop: what is not finished then is dropped, as after Ctrl-C.

    Flower tells by SIGTERM or SIGINT, or by refusing what the run asks for.
    """

    def __init__(
        self, grid: Grid, config: Config, data: FederatedData[Any], stop: Callable[[], bool]
    ) -> None:
        super().__init__(grid, config, data, say, stop)
        self._stop = stop

    def run_round(self) -> RoundRecord:
        """One round.

        Raises:
            Interrupted: where the run was stopped; the state is that of the last finished round.

        """
        if self._stop():  # while nodes evaluated
            raise Interrupted
        with self._stoppable():
            return super().run_round()

    def evaluate(self, everything: bool = False, stoppable: bool = True) -> dict[str, float]:
        """Metrics of the current model on held-out clients.

        Raises:
            Interrupted: where the run was stopped, if ``stoppable``.
            NotEvaluatedError: where it was, if not: the round before it is finished, and is kept.

        """
        try:
            with self._stoppable():
                return super().evaluate(everything, stoppable)
        except Interrupted:
            if stoppable:
                raise
            raise NotEvaluatedError("the run was stopped while nodes evaluated") from None

    @contextmanager
    def _stoppable(self) -> Iterator[None]:
        try:
            yield
        except RunNotRunningException:
            raise Interrupted from None
        except (httpx.HTTPError, OSError):
            if self._stop():
                raise Interrupted from None
            raise


@app.main()
def main(grid: Grid, context: Context) -> None:
    """Train; a user's mistake ends the run as failed with one line in its log.

    A run that is stopped (``flwr stop``, SIGTERM) keeps its finished rounds.
    """
    try:
        config = config_of(context.run_config)

        def engine(config: Config, data: FederatedData[Any], stop: Callable[[], bool]) -> FlowerRounds:
            for line in without_effect(config):
                say(line)
            return StoppableRounds(grid, config, data, stop)

        def load(config: Config) -> FederatedData[Any]:
            with told_in_lines(say) as tell:
                return load_data(config, tell)

        with warnings_told(say), lack_of_memory():
            train(config, LoggedProgress(make_task(config.data).presentation.main), engine, load)
        say(f"finished: {config.folder().resolve()}")
    except Interrupted:
        say("stopped; what was finished is saved")
    except HashfedError as error:
        log(ERROR, "hashfed: %s", printable(str(error)))
        raise
