"""Runs of an app on a SuperLink: submit, follow to the end, stop."""

import contextlib
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from hashfed.deploy.child import Child
from hashfed.deploy.commands import CONNECTION, Value, environment, run_command
from hashfed.deploy.control import flwr
from hashfed.deploy.processes import SuperLink
from hashfed.errors import HashfedError

_OF_FLWR_LOG = ("Starting logstream for run_id", f"Using SuperLink: {CONNECTION} ")

SECONDS_BETWEEN_QUESTIONS = 5.0
"""Each costs a second of one core; the log usually tells the end before."""


@dataclass(frozen=True)
class RunResult:
    """How a run ended."""

    run_id: int
    status: str
    """``completed``, ``failed`` or ``stopped``."""
    log: str
    """What the ServerApp wrote."""


def run_app(superlink: SuperLink, app: Path, overrides: Mapping[str, Value] | None = None) -> int:
    """Submit an app folder, with some of its settings changed; returns the run's id.

    Raises:
        HashfedError: where Flower does not take the app, with its message.

    """
    return int(flwr(superlink.home, *run_command(app, overrides)[1:])["run-id"])


def run_status(superlink: SuperLink, run_id: int) -> str:
    """``pending``, ``starting``, ``running``, or ``finished:`` with how: completed, failed or stopped.

    Raises:
        HashfedError: where the SuperLink does not answer.

    """
    answer = flwr(superlink.home, "list", CONNECTION, "--run-id", str(run_id))
    return str(answer["runs"][0]["status"])


def stop_run(superlink: SuperLink, run_id: int) -> None:
    """Stop a run; one that has ended is no mistake.

    Raises:
        HashfedError: where the SuperLink does not answer.

    """
    try:
        flwr(superlink.home, "stop", str(run_id), CONNECTION)
    except HashfedError:
        if not run_status(superlink, run_id).startswith("finished"):
            raise


def wait_for_run(
    superlink: SuperLink,
    run_id: int,
    timeout: float | None = None,
    show: Callable[[str], None] | None = None,
) -> RunResult:
    """Follow a run to its end.

    Args:
        superlink: where it runs.
        run_id: from ``run_app``.
        timeout: at most so many seconds; none: as long as it takes.
        show: called with every line of the ServerApp's log as it comes.

    Raises:
        HashfedError: where it has not ended within ``timeout`` seconds, or the SuperLink ends.

    """
    deadline = None if timeout is None else time.monotonic() + timeout
    shown = 0
    while True:
        with _follow(superlink, run_id) as log:
            ended = False
            asked = time.monotonic()
            while not ended and log.exit_code is None:
                shown = _show(log, shown, show)
                superlink.child.check()
                if deadline is not None and time.monotonic() > deadline:
                    raise HashfedError(f"run {run_id} has not ended after {timeout:g} s")
                if time.monotonic() - asked > 12 * SECONDS_BETWEEN_QUESTIONS:
                    # A log that never ends, or hangs, must not hide the end of the run.
                    ended = _finished(superlink, run_id)
                    asked = time.monotonic()
                time.sleep(0.1)
            shown = _show(log, shown, show)
            superlink.child.check()
            status = run_status(superlink, run_id)
            if status.startswith("finished"):
                _show(log, shown, show)
                return RunResult(run_id, status.partition(":")[2], _server_log(log))
        time.sleep(SECONDS_BETWEEN_QUESTIONS / 5)


def reason_of(result: RunResult) -> str:
    """Why a run failed, as one line: the exception that the ServerApp raised, or its last words."""
    lines = [line.strip() for line in result.log.splitlines() if line.strip()]
    ends = [index for index, line in enumerate(lines) if "Exit Code:" in line]
    reason = lines[ends[-1] - 1] if ends and ends[-1] > 0 else " / ".join(lines[-2:])
    return reason.removeprefix(f"{HashfedError.__module__}.{HashfedError.__qualname__}: ") or "no log"


def _finished(superlink: SuperLink, run_id: int) -> bool:
    with contextlib.suppress(HashfedError):
        return run_status(superlink, run_id).startswith("finished")
    return False


def _follow(superlink: SuperLink, run_id: int) -> Child:
    command = ["flwr", "log", str(run_id), CONNECTION, "--stream"]
    return Child(command, superlink.folder / f"run-{run_id}.log", environment(superlink.home))


def _show(log: Child, shown: int, show: Callable[[str], None] | None) -> int:
    """Show what is new; a log that is opened again begins at its beginning."""
    lines = _server_log(log).split("\n")[:-1]
    for line in lines[shown:]:
        if show is not None:
            show(line)
    return max(shown, len(lines))


def _server_log(log: Child) -> str:
    """Without the lines of ``flwr log`` itself."""
    lines = log.output().split("\n")
    return "\n".join(line for line in lines if not any(text in line for text in _OF_FLWR_LOG))
