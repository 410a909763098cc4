"""One run from its configuration: set up or resume, rounds, evaluation, summary."""

import signal
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from typing import Any, Protocol

import numpy as np

from hashfed.config import Config
from hashfed.engines.budget import build_model, device_budget
from hashfed.engines.choose import make_simulation
from hashfed.engines.device_memory import measure_device_memory
from hashfed.engines.evaluation import NotEvaluatedError
from hashfed.engines.rounds import RoundRecord
from hashfed.engines.state import ServerState
from hashfed.errors import HashfedError
from hashfed.federated.divergence import DivergedError
from hashfed.federated.protocols import moved, ways
from hashfed.models import OUTPUT, Model
from hashfed.models.protocol import names_of
from hashfed.runs.events import Events
from hashfed.runs.folder import RunFolder
from hashfed.runs.ledger import Ledger
from hashfed.runs.saving import Saving
from hashfed.stopping import Interrupted, handled
from hashfed.tasks.facts import facts
from hashfed.tasks.federated_data import FederatedData
from hashfed.tasks.reading import Tell, tell_nobody
from hashfed.tasks.registry import make_task


class Progress(Protocol):
    """What is told about a run while it goes on."""

    def start(self, done: int, rounds: int) -> None:
        """The run begins after round ``done``."""
        ...

    def round(self, metrics: dict[str, Any]) -> None:
        """A round is finished: its line of ``metrics.jsonl``."""
        ...

    def finish(self) -> None:
        """No round follows."""
        ...


class Silent:
    """Tells nobody."""

    def start(self, done: int, rounds: int) -> None:
        """Nothing."""

    def round(self, metrics: dict[str, Any]) -> None:
        """Nothing."""

    def finish(self) -> None:
        """Nothing."""


class Engine(Protocol):
    """What plays rounds: the simulator, or a server whose clients are elsewhere."""

    config: Config
    data: FederatedData[Any]
    model: Model
    state: ServerState
    remote: bool
    """Whether clients are elsewhere."""

    def __enter__(self) -> "Engine":
        """Begin."""
        ...

    def __exit__(self, *_: object) -> None:
        """End what it began."""
        ...

    def run_round(self) -> RoundRecord:
        """One round."""
        ...

    def evaluate(self, everything: bool = False, stoppable: bool = True) -> dict[str, float]:
        """Metrics of the current model."""
        ...


MakeEngine = Callable[[Config, FederatedData[Any], Callable[[], bool]], Engine]
"""From the configuration, the data, and a function that tells whether to stop."""


def load_data(config: Config, tell: Tell = tell_nobody) -> FederatedData[Any]:
    """The clients that the configuration names.

    Args:
        config: of a run.
        tell: told how far a large source is read, which is prepared when it is met first.

    Raises:
        HashfedError: where the source cannot be read, or has fewer rows than asked for.

    """
    return make_task(config.data).load(config.evaluation.clients, tell)


def train(
    config: Config,
    progress: Progress | None = None,
    make_engine: MakeEngine = make_simulation,
    load: Callable[[Config], FederatedData[Any]] = load_data,
    measure_memory: bool = True,
) -> dict[str, Any]:
    """Train to ``config.rounds`` in ``config.folder()``, going on where an earlier call ended.

    Ctrl-C (SIGINT), SIGTERM and SIGHUP end the run after the work in hand is dropped and the last finished
    round saved; not those that this process was started to ignore (``nohup``).

    Args:
        config: of the run.
        progress: told how it goes.
        make_engine: what plays rounds.
        load: gives the data of a configuration, such as a function that keeps those of the last.
        measure_memory: whether the summary says a client's memory, which takes fresh processes; else 0.

    Returns:
        What ``summary.json`` holds.

    Raises:
        HashfedError: for a mistake of the user or a full disk; the last checkpoint stays good.
        Interrupted: after such a signal.

    """
    progress = progress or Silent()
    folder = RunFolder(config.folder())
    folder.check_reading(config)
    data = load(config)
    facts = describe(config, data)
    folder.open(config, facts)
    try:
        with _stop_on_interrupt() as stop, make_engine(config, data, stop) as engine, ExitStack() as opened:
            if engine.state.known is not None:
                engine.state.ledger = opened.enter_context(Ledger.open(folder.path))
            # In this order: a run that cannot go on keeps its files as they are.
            folder.restore(engine.state)
            folder.describe(config, data.names, facts)
            if engine.state.round > config.rounds:
                config = config.model_copy(update={"rounds": engine.state.round})
            progress.start(engine.state.round, config.rounds)
            try:
                _rounds(engine, config, folder, progress)
                summary = _finish(engine, config, folder, measure_memory)
            finally:
                progress.finish()
            return summary
    finally:
        folder.close()


def describe(config: Config, data: FederatedData[Any]) -> dict[str, Any]:
    """Sizes and floors, for ``data.json``."""
    return facts(data, names_of(build_model(config), OUTPUT), make_task(config.data).measure_floors)


def _rounds(engine: Engine, config: Config, folder: RunFolder, progress: Progress) -> None:
    state = engine.state
    events = Events(folder.path, state.round) if config.tensorboard else None
    # Rounds over a network cost other people's time and batteries: each is kept.
    every = 1 if config.checkpoint_every is None and engine.remote else config.checkpoint_every
    saving = Saving(every, state.round)
    try:
        while state.round < config.rounds:
            start = time.perf_counter()
            record = engine.run_round()
            metrics = round_metrics(record)
            played = time.perf_counter()
            if record.round % config.evaluation.every == 0 or record.round == config.rounds:
                # Not stopped half-way: a round and its line in metrics.jsonl belong together.
                with suppress(NotEvaluatedError):  # the engine says why; the next evaluation may succeed
                    metrics["evaluation"] = engine.evaluate(stoppable=False)
            evaluated = time.perf_counter()
            folder.append("metrics.jsonl", metrics)
            if saving.due(record.round) or record.round == config.rounds:
                saving.save(record.round, lambda: folder.save(state))
            timings = {"round": record.round, "play": played - start, "evaluate": evaluated - played}
            timings["save"] = time.perf_counter() - evaluated
            timings |= client_seconds(record) | record.seconds
            folder.append("timings.jsonl", timings)
            if events is not None:
                events.write(metrics)
            progress.round(metrics)
    except DivergedError as error:
        # The state is that of no round, so it is not saved; the one that is there is good.
        kept = (
            f"; round {saving.saved} is kept, and other settings need another output" if saving.saved else ""
        )
        raise DivergedError(f"{error}{kept}") from None
    except (Interrupted, HashfedError):
        # Rounds since the last checkpoint are kept, if their lines are.
        lines = folder.lines("metrics.jsonl")
        if saving.saved < state.round and lines and lines[-1]["round"] == state.round:
            folder.save(state)
        raise
    finally:
        if events is not None:
            events.close()


def _finish(engine: Engine, config: Config, folder: RunFolder, measure_memory: bool) -> dict[str, Any]:
    """Evaluate on all held-out examples and write the summary, unless that was done before."""
    summary: dict[str, Any] = folder.read_json("summary.json")
    finished = summary is not None and summary["rounds"] == config.rounds
    if finished and (summary["device"]["memory_peak"] or not measure_memory):
        return summary
    lines = folder.lines("metrics.jsonl")
    seconds = [line["play"] for line in folder.lines("timings.jsonl")]
    size, cost = engine.data.size, device_cost(lines)
    # Own rows and others: as many as clients held in the mean, for it says no fraction of its own.
    held = device_budget(config, size) if config.selection.extra is None else cost["rows"]
    # A client is measured in a process of its own, on the CPU.
    memory = (
        measure_device_memory(config, engine.model, engine.data, engine.state.parameters.to("cpu"))
        if measure_memory
        else {"memory_baseline": 0, "memory_peak": 0}
    )
    summary = {
        "rounds": config.rounds,
        "method": config.retrieval.method,
        "budget": held / size,
        "evaluation": engine.evaluate(everything=True),
        "floors": folder.read_json("data.json")["floors"],
        "device": cost | memory,
        "seconds_per_round": float(np.median(seconds)) if seconds else None,
    }
    folder.write_json("summary.json", summary)
    return summary


def round_metrics(record: RoundRecord) -> dict[str, Any]:
    """A line of ``metrics.jsonl``: nothing in it depends on the clock."""
    reports = record.reports
    total: dict[str, int] = {}
    for report in reports:
        for kind, count in report.bytes.items():
            total[kind] = total.get(kind, 0) + count
    bounded = [report.bounded for report in reports if report.bounded is not None]
    summed = record.saturated is not None  # then each report is the mean of all
    network: dict[str, Any] = {}
    if record.wire_bytes:
        network["wire_bytes"] = record.wire_bytes
    if record.failed:
        network["failed"] = record.failed
    return {
        "round": record.round,
        "train_loss": record.loss,
        "clients": len(reports),
        "predictions": sum(report.predictions for report in reports),
        "own_rows": float(np.mean([report.own_rows for report in reports])),
        **({} if summed else {"own_rows_max": max(report.own_rows for report in reports)}),
        "rows": float(np.mean([report.rows for report in reports])),
        **({} if summed else {"rows_max": max(report.rows for report in reports)}),
        "parameters": float(np.mean([report.parameters for report in reports])),
        "flops": sum(report.flops for report in reports),
        "bytes": total,
        **({} if record.padding is None else {"padding": record.padding}),
        **({} if record.saturated is None else {"saturated": record.saturated, "diverged": record.diverged}),
        **({} if record.clipped is None else {"clipped": record.clipped}),
        **({} if not bounded else {"bounded": sum(bounded)}),
        **network,
    }


def client_seconds(record: RoundRecord) -> dict[str, float]:
    """Seconds of hashing, retrieval and training, added up over the cohort."""
    total: dict[str, float] = {}
    for report in record.reports:
        for name, value in report.seconds.items():
            total[name] = total.get(name, 0.0) + value
    return total


def device_cost(lines: list[dict[str, Any]]) -> dict[str, Any]:
    """Means per client and round over a run's metrics lines."""
    clients = sum(line["clients"] for line in lines)
    kinds = [kind for kind in ways() if any(kind in line["bytes"] for line in lines)]
    by_kind = {kind: sum(line["bytes"].get(kind, 0) for line in lines) / clients for kind in kinds}
    return {
        "rows": float(np.mean([line["rows"] for line in lines])),
        "parameters": float(np.mean([line["parameters"] for line in lines])),
        "flops": sum(line["flops"] for line in lines) / clients,
        "bytes": by_kind,
        "bytes_down": moved(by_kind, "down"),
        "bytes_up": moved(by_kind, "up"),
    }


@contextmanager
def _stop_on_interrupt() -> Iterator[Callable[[], bool]]:
    """Turn Ctrl-C, SIGTERM and SIGHUP into a request to stop; a second Ctrl-C has its usual effect.

    ``Interrupted`` says which it was.
    """
    asked: int | None = None

    def ask(number: int) -> None:
        nonlocal asked
        asked = asked or number
        if number == signal.SIGINT:
            signal.signal(signal.SIGINT, signal.default_int_handler)

    with handled(ask):
        try:
            yield lambda: asked is not None
        except Interrupted as stop:
            stop.signal = asked or signal.SIGINT
            raise
