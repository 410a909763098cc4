"""The server's state on disk: one safetensors file per kept round, and one JSON file that names the last.

The JSON file is replaced last and atomically, so a run that dies at any moment finds the last round
that was completely written.
"""

import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save

from hashfed.display import brief, shown
from hashfed.engines.state import ServerState
from hashfed.errors import HashfedError
from hashfed.federated.codec import under
from hashfed.federated.divergence import DivergedError, check_parameters
from hashfed.files import write_atomically
from hashfed.models import OUTPUT, Parameters

LATEST = "latest.json"
OLD_ROWS = "parameters.rows"
"""In checkpoints of versions that knew one table."""


def save_checkpoint(folder: Path, state: ServerState) -> None:
    """Write the state and forget the one before.

    Raises:
        HashfedError: where the disk is full or the folder not writable; the last checkpoint stays.

    """
    data = save(state.tensors())
    name = _file_name(state.round)
    write_atomically(folder / name, data)
    latest = state.numbers() | {"file": name, "sha256": hashlib.sha256(data).hexdigest()}
    write_atomically(folder / LATEST, (json.dumps(latest, indent=1) + "\n").encode())
    for old in folder.glob("round-*.safetensors"):
        if old.name != name:
            old.unlink(missing_ok=True)


def load_checkpoint(folder: Path, state: ServerState) -> bool:
    """Restore the last written state into ``state``; False where there is none.

    Raises:
        HashfedError: where the checkpoint is damaged or belongs to another model.

    """
    found = _read(folder)
    if found is None:
        return False
    tensors, numbers = found
    with _readable(folder):
        try:
            state.restore(tensors, numbers)
        except HashfedError as error:
            raise HashfedError(f"{folder / numbers['file']}: {error}; {_remedy(folder)}") from None
    return True


def load_parameters(folder: Path) -> Parameters | None:
    """The model's parameters in the last checkpoint, without moments; None where there is none.

    Raises:
        HashfedError: where the checkpoint is damaged.

    """
    found = _read(folder)
    if found is None:
        return None
    with _readable(folder):
        tensors = found[0]
        rows = tensors[f"parameters.tables.{OUTPUT}"]
        tables, body = (under(f"parameters.{part}", tensors) for part in ("tables", "body"))
        return Parameters({OUTPUT: rows} | tables, body)


def _read(folder: Path) -> tuple[dict[str, torch.Tensor], dict[str, Any]] | None:
    """Tensors and numbers of the last checkpoint."""
    latest = folder / LATEST
    if not latest.exists():
        return None
    with _readable(folder):
        numbers = json.loads(latest.read_text(encoding="utf-8"))
        _check(numbers)
        path = folder / numbers["file"]
        data = path.read_bytes()
        if hashlib.sha256(data).hexdigest() != numbers["sha256"]:
            raise HashfedError(
                f"{path}: damaged (its checksum is not the one in {LATEST}); {_remedy(folder)}"
            )
        tensors = load(data)
        if OLD_ROWS in tensors:
            raise HashfedError(
                f"{path}: written by an earlier version of hashfed, which this one cannot go on with or ask: "
                "use that version, or train in another folder"
            )
        start = "parameters."
        try:
            check_parameters({name: value for name, value in tensors.items() if name.startswith(start)})
        except DivergedError as error:
            raise HashfedError(
                f"{path}: {error}: the training had diverged; to start the run anew, delete the folder "
                f"{folder.parent}"
            ) from None
        return tensors, numbers


@contextmanager
def _readable(folder: Path) -> Iterator[None]:
    """Turn what goes wrong with a checkpoint's files into a HashfedError."""
    try:
        yield
    except (OSError, ValueError, KeyError, TypeError, RecursionError, SafetensorError) as error:
        reason = str(error) if type(error) is ValueError else brief(f"{type(error).__name__}: {error}")
        raise HashfedError(
            f"{folder / LATEST}: no readable checkpoint ({reason}); {_remedy(folder)}"
        ) from None


def _remedy(folder: Path) -> str:
    return f"restore it from a copy, or, to start the run anew, delete the folder {folder.parent}"


def _check(numbers: object) -> None:
    """Make sure that ``numbers`` are what ``save_checkpoint`` wrote.

    Raises:
        ValueError: naming what is not.

    """
    if not isinstance(numbers, dict):
        raise ValueError(f"{shown(numbers)}: must be an object")
    for name in ("round", "steps", "total_weight", "file", "sha256"):
        if name not in numbers:
            raise ValueError(f"has no {name}")
    for name, value in numbers.items():
        kinds = str if name in ("file", "sha256") else int | float if name == "total_weight" else int
        if isinstance(value, bool) or not isinstance(value, kinds):
            raise ValueError(f"{brief(name)} = {shown(value)}: of another type than a checkpoint's")
        if isinstance(value, int | float) and not 0 <= value < 2**63:
            raise ValueError(f"{brief(name)} = {shown(value)}: must be ≥ 0")
    if numbers["file"] != _file_name(numbers["round"]):
        raise ValueError(f"file = {shown(numbers['file'])}: must be {_file_name(numbers['round'])}")


def _file_name(round: int) -> str:
    return f"round-{round:06d}.safetensors"
