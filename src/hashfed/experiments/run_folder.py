"""A run's folder.

config.yaml       the whole configuration
vocabulary.json   the words, in order of their rows
data.json         sizes of the data and the floors of the held-out clients
metrics.jsonl     a line per round; the same bytes for the same configuration
timings.jsonl     a line per round; wall-clock seconds
checkpoint/       the server's state after the last saved round
summary.json      the result, once all rounds are done
report.html       the page of this run alone (``hashfed train``, with the extra ``report``)
buckets.html      sample hash buckets (``hashfed reproduce buckets``)
events/           TensorBoard events, where asked for
"""

import fcntl
import json
import os
import time
from pathlib import Path
from typing import IO, Any

from hashfed.config import Config, differences, load_config
from hashfed.data import Vocabulary
from hashfed.engines.checkpoint import LATEST, load_checkpoint, load_parameters, save_checkpoint
from hashfed.engines.state import ServerState
from hashfed.errors import HashfedError
from hashfed.files import write_atomically
from hashfed.models import Parameters


class RunFolder:
    """Reads and writes the files of one run."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock: IO[bytes] | None = None

    def open(self, config: Config, data: dict[str, Any]) -> None:
        """Take the folder for a run of ``config`` on ``data``; a new one is made, nothing else changed.

        Raises:
            HashfedError: where the folder holds a run of another configuration or of other data, or
                something else, is in use, or cannot be written.

        """
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            used = any(not item.name.startswith(".") for item in self.path.iterdir())
            # A configuration alone may be the user's own; a run has left more.
            traces = (".lock", "vocabulary.json", f"checkpoint/{LATEST}")
            begun = self._is_run() and any((self.path / name).exists() for name in traces)
            if used and not begun:
                raise HashfedError(f"output = {self.path}: not empty, and not a run that hashfed began there")
            self._lock = (self.path / ".lock").open("wb")
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise HashfedError(f"output = {self.path}: another process is working on this run") from None
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or error
            raise HashfedError(f"output = {self.path}: {reason}") from None
        # A run without a checkpoint has nothing to lose: any configuration may begin it anew.
        if (self.path / "checkpoint" / LATEST).exists():
            self._check_same(config, data)

    def _is_run(self) -> bool:
        return (self.path / "config.yaml").is_file()

    def _check_same(self, config: Config, data: dict[str, Any]) -> None:
        changed = differences(self.config(), config)
        if changed:
            name, there, asked = changed[0]
            more = f" and {len(changed) - 1} more" if len(changed) > 1 else ""
            raise HashfedError(
                f"output = {self.path}: holds a run of another configuration ({name} is {there!r} "
                f"there, {asked!r} here{more}); choose another --output, or delete that folder"
            )
        before = self.read_json("data.json")
        if before is not None and before.get("sha256") != data["sha256"]:
            raise HashfedError(
                f"output = {self.path}: the texts of {config.data.source} have changed since this run began; "
                "choose another --output, or delete that folder"
            )

    def describe(self, config: Config, vocabulary: Vocabulary, data: dict[str, Any]) -> None:
        """Write what stays the same over the run.

        Raises:
            HashfedError: where the disk is full.

        """
        write_atomically(self.path / "config.yaml", config.to_yaml().encode())
        write_atomically(self.path / "vocabulary.json", vocabulary.to_json().encode())
        self.write_json("data.json", data)

    def close(self) -> None:
        """Let go of the folder."""
        if self._lock is not None:
            self._lock.close()

    def wait_until_free(self, seconds: float) -> bool:
        """Whether nobody works on this run any more, or not within so many seconds."""
        end = time.monotonic() + seconds
        while True:
            try:
                with (self.path / ".lock").open("rb") as lock:
                    fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
                    return True
            except BlockingIOError:
                if time.monotonic() > end:
                    return False
                time.sleep(0.1)
            except OSError:
                return True  # there is no run

    def config(self) -> Config:
        """The saved configuration.

        Raises:
            HashfedError: where this is no run.

        """
        if not self._is_run():
            raise HashfedError(f"{self.path}: not a run (it has no config.yaml)")
        return load_config(self.path / "config.yaml")

    def parameters(self) -> Parameters:
        """The model's parameters in the last checkpoint.

        Raises:
            HashfedError: where there is no checkpoint, or a damaged one.

        """
        parameters = load_parameters(self.path / "checkpoint")
        if parameters is None:
            raise HashfedError(f"{self.path}: has no checkpoint yet")
        return parameters

    def vocabulary(self) -> Vocabulary:
        """The saved vocabulary."""
        return Vocabulary.load(self.path / "vocabulary.json")

    def write_json(self, name: str, value: object) -> None:
        """Replace a JSON file."""
        write_atomically(self.path / name, (json.dumps(value, indent=1) + "\n").encode())

    def read_json(self, name: str) -> Any:
        """A JSON file's content, None where there is none.

        Raises:
            HashfedError: where it is damaged.

        """
        path = self.path / name
        if not path.exists():
            return None
        try:
            return json.loads(path.read_text(encoding="utf-8"))
        except ValueError as error:
            raise HashfedError(f"{path}: damaged ({error})") from None

    def append(self, name: str, line: dict[str, Any]) -> None:
        """Add a line to a JSON Lines file and flush it to disk.

        Raises:
            HashfedError: where the disk is full.

        """
        path = self.path / name
        try:
            with path.open("ab") as file:
                file.write((json.dumps(line) + "\n").encode())
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            raise HashfedError(f"{path}: cannot be written ({error.strerror or error})") from None

    def lines(self, name: str) -> list[dict[str, Any]]:
        """The lines of a JSON Lines file; what a dying process left half-written at the end is ignored."""
        path = self.path / name
        if not path.exists():
            return []
        found = []
        for number, line in enumerate(path.read_bytes().split(b"\n"), start=1):
            if not line.strip():
                continue
            try:
                found.append(json.loads(line))
            except ValueError:
                rest = path.read_bytes().split(b"\n")[number:]
                if any(part.strip() for part in rest):
                    raise HashfedError(f"{path}, line {number}: damaged") from None
        return found

    def restore(self, state: ServerState) -> bool:
        """Load the last checkpoint, if any, and forget the lines of later rounds and older results."""
        found = load_checkpoint(self.path / "checkpoint", state)
        if not found:
            for name in ("summary.json", "report.html"):
                (self.path / name).unlink(missing_ok=True)
        for name in ("metrics.jsonl", "timings.jsonl"):
            kept = [line for line in self.lines(name) if line["round"] <= state.round]
            text = "".join(json.dumps(line) + "\n" for line in kept)
            write_atomically(self.path / name, text.encode())
        return found

    def save(self, state: ServerState) -> None:
        """Write a checkpoint."""
        save_checkpoint(self.path / "checkpoint", state)
