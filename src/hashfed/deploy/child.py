"""One child process in a session of its own, with its output in a file."""

import contextlib
import os
import re
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Self

from hashfed.deploy.commands import find_program
from hashfed.errors import HashfedError

_COLORS = re.compile(r"\x1b\[[0-9;]*m")


_WRAPPER = """\
exec 3<&0 </dev/null
(trap '' TERM; read -r line; kill -TERM 0; sleep 10; kill -KILL 0) <&3 >/dev/null 2>&1 &
exec 3<&-
exec "$@"
"""
"""Becomes the program, beside a watcher that ends the group when the pipe from us closes: also when we are
killed, which no handler of ours could notice."""


class Child:
    """A running program; at the end of a ``with`` block it is terminated with all that it started.

    Its own session keeps Ctrl-C in our terminal away from it, so that we choose the order in which
    processes end, and makes it and its children one group that can be killed as a whole.
    """

    def __init__(self, command: Sequence[str], log: Path, environment: Mapping[str, str]) -> None:
        """Start it.

        Raises:
            HashfedError: where the program is not installed, or the log cannot be written.

        """
        self.name = command[0]
        self.log = log
        self._shown = 0
        program = find_program(self.name)
        try:
            log.parent.mkdir(parents=True, exist_ok=True)
            with log.open("wb") as file:
                self._process = subprocess.Popen(
                    ["sh", "-c", _WRAPPER, "sh", program, *command[1:]],
                    stdin=subprocess.PIPE,
                    stdout=file,
                    stderr=subprocess.STDOUT,
                    env=dict(environment),
                    start_new_session=True,
                )
        except OSError as error:
            raise HashfedError(f"{self.name}: cannot be started ({error})") from None

    @property
    def pid(self) -> int:
        """Of the process, and of its group."""
        return self._process.pid

    @property
    def exit_code(self) -> int | None:
        """None while it runs."""
        return self._process.poll()

    def output(self) -> str:
        """What it has written so far, without colours."""
        return _COLORS.sub("", self.log.read_text(encoding="utf-8", errors="replace"))

    def new_lines(self) -> list[str]:
        """The whole lines written since the last call."""
        lines = self.output().split("\n")[:-1]
        new, self._shown = lines[self._shown :], len(lines)
        return new

    def last_words(self) -> str:
        """Why it ended, as far as its output tells, as one line."""
        return reason_in(self.output())

    def check(self) -> None:
        """Make sure that it still runs.

        Raises:
            HashfedError: with its exit code and its last lines.

        """
        if self.exit_code is not None:
            raise HashfedError(f"{self.name} ended with exit code {self.exit_code}: {self.last_words()}")

    def wait_for_output(self, text: str, timeout: float) -> None:
        """Return when ``text`` is in its output.

        Raises:
            HashfedError: where it ends before, or takes longer than ``timeout`` seconds.

        """
        deadline = time.monotonic() + timeout
        while text not in self.output():
            self.check()
            if time.monotonic() > deadline:
                raise HashfedError(f"{self.name} is not ready after {timeout:g} s: {self.last_words()}")
            time.sleep(0.05)

    def wait(self, timeout: float | None = None) -> int | None:
        """Its exit code, or None where it still runs after ``timeout`` seconds."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(timeout)
        return self.exit_code

    def terminate(self, timeout: float = 10) -> None:
        """Ask it to end (SIGTERM), give it time, then kill what is left of its group."""
        if self.exit_code is None:
            self._send(signal.SIGTERM)
            self.wait(timeout)
        self.kill()

    def kill(self) -> None:
        """End it and all that it started at once (SIGKILL), as a power cut would, and reap it."""
        self._send(signal.SIGKILL)
        self.wait()
        if self._process.stdin is not None:
            self._process.stdin.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.terminate()

    def _send(self, which: signal.Signals) -> None:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, which)


def reason_in(output: str) -> str:
    """The reason in what a program of Flower wrote, as one line.

    That is the message that comes with an exit code of Flower's, else the last errors, else the last lines.
    """
    lines = [line.strip() for line in output.splitlines()]
    codes = [index for index, line in enumerate(lines) if "Exit Code:" in line]
    if codes:
        message = lines[codes[-1] + 1 :]
        message = message[: message.index("")] if "" in message else message
        # The last line is general help on the exit code.
        said = " ".join(message[:-1] or message)
        return said.removeprefix("Failed to initialize the connection to the SuperLink. ")
    lines = [line for line in lines if line]
    errors = [line for line in lines if re.search(r"\bERROR\b|^\w[\w.]*(Error|Exception): ", line)]
    return " / ".join((errors or lines)[-3:]) or "(it wrote nothing)"
