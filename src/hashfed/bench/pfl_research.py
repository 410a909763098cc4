"""A peer, Apple's pfl-research: its program stands among the benchmarks, and gets a process of its own."""

import importlib.metadata
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from safetensors import SafetensorError

from hashfed.bench.cells import MOST_ROUNDS, LeftOut, Measured, Outcome
from hashfed.bench.programs import CHECKOUT, results
from hashfed.bench.timing import Spread, TimeLimit
from hashfed.bench.workload import write_workload
from hashfed.config import Config
from hashfed.errors import HashfedError
from hashfed.models import Parameters
from hashfed.tasks.examples import Examples

NAME, DISTRIBUTION = "pfl-research", "pfl"
PROGRAM = CHECKOUT / "benchmarks" / "simulation" / "peers" / "pfl_research.py"
START = 5.0
"""Seconds in which the program loads PyTorch and pfl, as expected: on an idle machine."""


def found() -> dict[str, str]:
    """Its ``version``, or why it is ``left_out``."""
    try:
        version = importlib.metadata.version(DISTRIBUTION)
    except importlib.metadata.PackageNotFoundError:
        return {"left_out": "not installed"}
    return {"version": version} if PROGRAM.exists() else {"left_out": "not in a source checkout"}


def least_seconds(round: float) -> float:
    """Of a start, a round that is not timed and one that is, each of so many seconds."""
    return START + 2 * round


def rounds(
    config: Config, parameters: Parameters, clients: Sequence[Examples], limit: TimeLimit, expected: float
) -> Outcome:
    """Rounds of federated averaging over all rows, after one that is not timed; on a CPU in one thread.

    Args:
        config: whose device, and how clients learn.
        parameters: of the transformer, on the CPU.
        clients: of every round, see ``write_workload``.
        limit: of all cells; the program is ended at the most that this one may take.
        expected: seconds of a round.

    """
    most = limit.most
    timed = max(1, min(MOST_ROUNDS, int(limit.share / expected), int((most - START) / expected) - 1))
    with tempfile.TemporaryDirectory(prefix="hashfed-") as folder:
        path = Path(folder) / "workload.safetensors"
        options = ["--workers=1", f"--rounds={1 + timed}", f"--device={config.device}"]
        try:
            write_workload(path, config, parameters, clients)
            (played,) = results(NAME, [[sys.executable, str(PROGRAM), str(path), *options]], most)
        except (HashfedError, SafetensorError) as error:
            return LeftOut(str(error))
    steps, seconds = played["steps"], played["round_seconds"][1:]
    return Measured(
        len(seconds),
        Spread.of([steps / each for each in seconds]),
        Spread.of([1 / each for each in seconds]),
    )
