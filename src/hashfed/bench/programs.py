"""Programs that are measured in processes of their own, and print what they found as JSON."""

import json
import os
import signal
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from hashfed.display import brief, printable
from hashfed.errors import HashfedError

CHECKOUT = Path(__file__).parents[3]
"""Of the sources; where hashfed is installed from a wheel it has no ``benchmarks``."""


def results(name: str, commands: Sequence[Sequence[str]], seconds: float | None = None) -> list[Any]:
    """Run commands at the same time; whatever becomes of them, nothing that they started goes on.

    Args:
        name: of the program, for messages.
        commands: words of each.
        seconds: after which one is ended that is still waited for; None: never.

    Returns:
        The last line of each one's output, read as JSON.

    Raises:
        HashfedError: where one fails, takes too long, or prints something else.

    """
    with _started(commands) as processes:
        try:
            outputs = [process.communicate(timeout=seconds) for process in processes]
        except subprocess.TimeoutExpired:
            raise HashfedError(f"{name} was ended after {seconds:.0f} s") from None
        return [
            _read(name, process.returncode, *output)
            for process, output in zip(processes, outputs, strict=True)
        ]


def environment() -> dict[str, str]:
    """In which any interpreter finds ``benchmarks``, from whatever folder."""
    paths = [str(CHECKOUT), os.environ.get("PYTHONPATH")]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths))}


@contextmanager
def _started(commands: Sequence[Sequence[str]]) -> Iterator[list[subprocess.Popen[str]]]:
    """Processes at the same time, which end with the block, as do those that they started."""
    processes = [
        subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
            start_new_session=True,
            env=environment(),
        )
        for command in commands
    ]
    try:
        yield processes
    finally:
        for process in processes:
            with process, suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)


def _read(name: str, code: int, output: str, errors: str) -> Any:
    if code != 0:
        reason = (errors.strip().splitlines() or ["no message"])[-1]
        raise HashfedError(f"{name} ended with exit code {code}: {brief(printable(reason))}")
    last = (output.strip().splitlines() or [""])[-1]
    try:
        return json.loads(last)
    except ValueError:
        raise HashfedError(f"{name} printed no JSON last: {brief(printable(last))}") from None
