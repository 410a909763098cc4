"""A run's folder.

config.yaml       the whole configuration
NAMES.json        the names of the rows, in their order (NAMES: ``TaskSettings.names_file``)
data.json         sizes of the data and the floors of the held-out clients
metrics.jsonl     a line per round; the same bytes for the same configuration
timings.jsonl     a line per round; wall-clock seconds
ledger.jsonl      a line per sum that the server was told, where a run keeps one (``runs.ledger``)
checkpoint/       the server's state after the last saved round
summary.json      the result, once all rounds are done
report.html       the page of this run alone (``hashfed train``, with the extra ``report``)
buckets.html      sample hash buckets (``hashfed reproduce buckets``)
events/           TensorBoard events, where asked for
"""

import fcntl
import hashlib
import json
import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Any

import torch
from pydantic import BaseModel

from hashfed.config import (
    Config,
    deciding_settings,
    differences,
    leaves,
    load_config,
    places,
    size_setting,
)
from hashfed.display import brief, shown
from hashfed.engines.budget import build_model, sends_everything
from hashfed.engines.checkpoint import LATEST, load_checkpoint, load_parameters, save_checkpoint
from hashfed.engines.state import ServerState
from hashfed.errors import HashfedError
from hashfed.files import write_atomically
from hashfed.models import OUTPUT, Parameters
from hashfed.runs.contents import CHECKED, REMEDY, Contents, check, check_rounds, contents_of
from hashfed.runs.ledger import LEDGER
from hashfed.tasks.federated_data import RowNames
from hashfed.tasks.registry import TASKS, make_task

REMEDIES = {
    "summary.json": "delete the file: the hashfed train command of this run writes it anew",
    "timings.jsonl": "delete the file: only the seconds of past rounds are lost",
}
"""Where there is a simpler one than ``REMEDY``."""


def records() -> set[str]:
    """Files that only a training writes, whatever its task."""
    return {"config.yaml", LEDGER, *CHECKED, *(task.names_file for task in TASKS.values())}


def is_record(path: Path) -> bool:
    """Whether a training writes this file of its run's folder."""
    path = Path(os.path.realpath(path))
    folder = path.parent.parent if path.parent.name == "checkpoint" else path.parent
    try:
        run = (folder / "config.yaml").is_file() and (folder / ".lock").exists()
    except OSError:
        return False
    return run and (path.name in records() or path.parent != folder)


class RunFolder:
    """Reads and writes the files of one run."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock: IO[bytes] | None = None
        self._contents: Contents | None = None

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
            traces = (".lock", "data.json", f"checkpoint/{LATEST}")
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

    def check_reading(self, config: Config) -> None:
        """Make sure, before data are read, that a run in the folder does not differ in one setting of them.

        For with another they may not even be found fit; ``open`` says of all others.

        Raises:
            HashfedError: with the setting that goes on with the run.

        """
        try:
            if not self._is_run() or not (self.path / "checkpoint" / LATEST).exists():
                return
        except (OSError, ValueError):
            return  # ``open`` says it
        (name, there, asked), *more = changed_settings(self.config(), config, False) or [("", None, None)]
        if name.startswith("data.") and name not in places(config) and not more:
            told = "none" if there is None else there
            raise HashfedError(
                f"output = {self.path}: holds a run of another configuration ({name} is {shown(there)} "
                f"there, {shown(asked)} here); --{name} {told} goes on with it; else choose another "
                "--output, or delete that folder"
            )

    def _is_run(self) -> bool:
        return (self.path / "config.yaml").is_file()

    def _check_same(self, config: Config, data: dict[str, Any]) -> None:
        before = self.read_json("data.json")
        if before is not None and before.get("sha256") is None:
            raise HashfedError(f"{self.path / 'data.json'}: has no sha256; {REMEDY}")
        same_data = before is not None and before["sha256"] == data["sha256"]
        changed = changed_settings(self.config(), config, same_data)
        if changed:
            name, there, asked = changed[0]
            more = f" and {len(changed) - 1} more" if len(changed) > 1 else ""
            raise HashfedError(
                f"output = {self.path}: holds a run of another configuration ({name} is {shown(there)} "
                f"there, {shown(asked)} here{more}); choose another --output, or delete that folder"
            )
        if before is not None and not same_data:
            raise HashfedError(
                f"output = {self.path}: the data of {config.data.source} have changed since this run began; "
                "choose another --output, or delete that folder"
            )

    def describe(self, config: Config, names: RowNames, data: dict[str, Any]) -> None:
        """Write what stays the same over the run.

        Raises:
            HashfedError: where the disk is full.

        """
        write_atomically(self.path / "config.yaml", config.to_yaml().encode())
        write_atomically(self.path / config.data.names_file, names.to_json().encode())
        facts = data | {"names_sha256": _digest(names), "settings": deciding_settings(config)}
        self.write_json("data.json", facts)

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
            HashfedError: where this is no run, or its configuration is none.

        """
        try:
            if not self._is_run():
                raise HashfedError(f"{self.path}: not a run (it has no config.yaml)")
        except OSError as error:
            raise HashfedError(f"{brief(str(self.path))}: {error.strerror or error}") from None
        try:
            config = load_config(self.path / "config.yaml")
        except HashfedError as error:
            raise HashfedError(f"{error}; {REMEDY}") from None
        self._check_unchanged(config)
        return config

    def _check_unchanged(self, config: Config) -> None:
        """Refuse a configuration that somebody changed: other numbers would come of the same parameters."""
        try:
            began = json.loads((self.path / "data.json").read_text(encoding="utf-8")).get("settings", {})
            now = dict(leaves(config))
            changed = [(name, value) for name, value in began.items() if now.get(name, value) != value]
        except (OSError, ValueError, AttributeError):
            return  # none, or damaged: said where it is read
        if changed:
            name, value = changed[0]
            raise HashfedError(
                f"{self.path / 'config.yaml'}: not of this run ({brief(name)} is {shown(now[name])}, and was "
                f"{shown(value)} when it began); {REMEDY}"
            )

    def parameters(self) -> Parameters:
        """The model's parameters in the last checkpoint.

        Raises:
            HashfedError: where there is no checkpoint, or one that is damaged or of another model than
                ``config.yaml``'s.

        """
        parameters = load_parameters(self.path / "checkpoint")
        if parameters is None:
            raise HashfedError(f"{self.path}: has no checkpoint yet")
        config = self.config()
        model = build_model(config)
        here = {name: _shape(value.shape, value.dtype) for name, value in parameters.named().items()}
        due = {f"body.{name}": _shape(shape) for name, shape in model.body_shapes().items()}
        sizes = make_task(config.data).sizes
        if set(model.tables) - set(sizes):
            sizes = self.names().sizes
        due |= {f"tables.{name}": _shape((sizes[name], width)) for name, width in model.tables.items()}
        for name in sorted(here.keys() | due.keys(), reverse=True):
            if here.get(name) != due.get(name):
                raise HashfedError(
                    f"{self.path / 'config.yaml'}: not of this run ({brief(name)} is {due.get(name, 'not')} "
                    f"in it, {here.get(name, 'not')} in checkpoint/); {REMEDY}"
                )
        return parameters

    def names(self) -> Any:
        """The saved names of the rows, as the task of the run reads them.

        Raises:
            HashfedError: where they are missing, damaged, or not those that the run began with.

        """
        config = self.config()
        path, task = self.path / config.data.names_file, make_task(config.data)
        try:
            found = task.read_names(path.read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError) as error:
            raise HashfedError(f"{path}: no readable names of rows ({error}); {REMEDY}") from None
        except HashfedError as error:
            raise HashfedError(f"{path}: {error}; {REMEDY}") from None
        there = found.sizes[OUTPUT]
        due = task.sizes.get(OUTPUT, there)
        if there != due:
            raise HashfedError(
                f"{path}: names {there:,} rows, but config.yaml beside it says {due:,} "
                f"({size_setting(config)}); {REMEDY}"
            )
        facts = self.read_json("data.json") or {}
        if facts.get("names_sha256") not in (None, _digest(found)):
            raise HashfedError(
                f"{path}: not the names that this run began with, or in another order; {REMEDY}"
            )
        return found

    def write_json(self, name: str, value: object) -> None:
        """Replace a JSON file."""
        write_atomically(self.path / name, (json.dumps(value, indent=1, allow_nan=False) + "\n").encode())

    def read_json(self, name: str) -> Any:
        """A JSON file's content, None where there is none.

        Raises:
            HashfedError: where it is damaged, or not what such a file of a run holds.

        """
        path = self.path / name
        remedy = REMEDIES.get(name, REMEDY)
        if not path.exists():
            return None
        try:
            value = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError, RecursionError) as error:
            raise HashfedError(f"{path}: damaged ({brief(str(error))}); {remedy}") from None
        if name in CHECKED:
            check(self.contents().files[name], value, path, remedy)
        return value

    def contents(self) -> Contents:
        """What the files of this run must hold.

        Raises:
            HashfedError: as ``config``.

        """
        if self._contents is None:
            self._contents = contents_of(make_task(self.config().data).presentation)
        return self._contents

    def append(self, name: str, line: dict[str, Any]) -> None:
        """Add a line to a JSON Lines file and flush it to disk.

        Raises:
            HashfedError: where the disk is full.

        """
        path = self.path / name
        try:
            with path.open("ab") as file:
                file.write((json.dumps(line, allow_nan=False) + "\n").encode())
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            raise HashfedError(f"{path}: cannot be written ({error.strerror or error})") from None

    def lines(self, name: str) -> list[dict[str, Any]]:
        """The lines of a JSON Lines file; what a dying process left half-written at the end is ignored.

        Raises:
            HashfedError: where a line is damaged, or not what such a file of a run holds.

        """
        path = self.path / name
        return self._lines(name, self.contents().files[name] if name in CHECKED and path.exists() else None)

    def _lines(self, name: str, kind: type[BaseModel] | None) -> list[dict[str, Any]]:
        path, remedy = self.path / name, REMEDIES.get(name, REMEDY)
        if not path.exists():
            return []
        found = []
        try:
            lines = path.read_bytes().split(b"\n")
        except OSError as error:
            raise HashfedError(f"{path}: cannot be read ({error.strerror or error}); {remedy}") from None
        for number, line in enumerate(lines, start=1):
            if not line.strip():
                continue
            try:
                value = json.loads(line)
            except (ValueError, RecursionError):
                if any(part.strip() for part in lines[number:]):
                    raise HashfedError(f"{path}, line {number}: damaged; {remedy}") from None
                continue
            if kind is not None:
                check(kind, value, f"{path}, line {number}", remedy)
            found.append(value)
        if name == "metrics.jsonl":
            check_rounds(found, path)
        return found

    def restore(self, state: ServerState) -> bool:
        """Load the last checkpoint, if any, and forget the lines of later rounds and older results.

        Raises:
            HashfedError: where a file is damaged; all are then as they were.

        """
        found = load_checkpoint(self.path / "checkpoint", state)
        kept: dict[str, list[dict[str, Any]]] = {"metrics.jsonl": [], "timings.jsonl": []}
        if found:
            kept["metrics.jsonl"] = self._lines("metrics.jsonl", self.contents().trained)[: state.round]
            kept["timings.jsonl"] = [
                line for line in self.lines("timings.jsonl") if line["round"] <= state.round
            ]
            self.read_json("summary.json")
            if len(kept["metrics.jsonl"]) < state.round:
                raise HashfedError(
                    f"{self.path / 'metrics.jsonl'}: ends at round {len(kept['metrics.jsonl'])}, but "
                    f"checkpoint/ is of round {state.round}; {REMEDY}"
                )
        else:
            for name in ("summary.json", "report.html"):
                (self.path / name).unlink(missing_ok=True)
        for name, lines in kept.items():
            # A new folder stays empty: only its configuration makes it one of a run.
            if (self.path / name).exists():
                text = "".join(json.dumps(line) + "\n" for line in lines)
                write_atomically(self.path / name, text.encode())
        return found

    def save(self, state: ServerState) -> None:
        """Write a checkpoint."""
        save_checkpoint(self.path / "checkpoint", state)


def changed_settings(there: Config, asked: Config, same_data: bool) -> list[tuple[str, Any, Any]]:
    """Settings that would decide other numbers: name, value there, value asked for.

    Args:
        there: of a run.
        asked: for the same folder.
        same_data: whether both have the same, wherever they lie.

    """
    changed = differences(there, asked)
    if same_data:
        # Where they lie is another matter: a relative path, a copy, the server's absolute one.
        changed = [item for item in changed if item[0] not in places(asked)]
    if sends_everything(there) and sends_everything(asked):
        # Nothing is retrieved or selected, so that these decide no number.
        changed = [item for item in changed if not item[0].startswith(("retrieval.", "selection."))]
    return changed


def _digest(names: RowNames) -> str:
    """A checksum of the names in their order."""
    return hashlib.sha256(json.dumps(names.to_json()).encode()).hexdigest()


def _shape(shape: Sequence[int], kind: torch.dtype = torch.float32) -> str:
    """Such as ``44 × 8 float32``."""
    return f"{' × '.join(map(str, shape))} {str(kind).removeprefix('torch.')}"
