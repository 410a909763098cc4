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

from hashfed.engines.state import ServerState
from hashfed.errors import HashfedError
from hashfed.federated.divergence import DivergedError, check_parameters
from hashfed.files import write_atomically
from hashfed.models import Parameters

LATEST = "latest.json"


def save_checkpoint(folder: Path, state: ServerState) -> None:
    """Write the state and forget the one before.

    Raises:
        HashfedError: where the disk is full or the folder not writable; the last checkpoint stays.

    """
    data = save(state.tensors())
    name = f"round-{state.round:06d}.safetensors"
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
        state.restore(tensors, numbers)
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
        start = "parameters.body."
        body = {name.removeprefix(start): value for name, value in tensors.items() if name.startswith(start)}
        return Parameters(tensors["parameters.rows"], body)


def _read(folder: Path) -> tuple[dict[str, torch.Tensor], dict[str, Any]] | None:
    """Tensors and numbers of the last checkpoint."""
    latest = folder / LATEST
    if not latest.exists():
        return None
    with _readable(folder):
        numbers = json.loads(latest.read_text(encoding="utf-8"))
        path = folder / numbers["file"]
        data = path.read_bytes()
        if hashlib.sha256(data).hexdigest() != numbers["sha256"]:
            raise HashfedError(
                f"{path}: damaged (its checksum is not the one in {LATEST}); to start the run anew, "
                f"delete the folder {folder.parent}"
            )
        tensors = load(data)
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
    latest = folder / LATEST
    try:
        yield
    except (OSError, ValueError, KeyError, TypeError, SafetensorError) as error:
        raise HashfedError(
            f"{latest}: no readable checkpoint ({type(error).__name__}: {error}); to start the run anew, "
            f"delete the folder {folder.parent}"
        ) from None
