"""The server's state on disk: one safetensors file per kept round, and one JSON file that names the last.

The JSON file is replaced last and atomically, so a run that dies at any moment finds the last round
that was completely written.
"""

import hashlib
import json
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load, save

from hashfed.engines.state import ServerState
from hashfed.errors import HashfedError
from hashfed.files import write_atomically

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
    latest = folder / LATEST
    if not latest.exists():
        return False
    try:
        numbers = json.loads(latest.read_text(encoding="utf-8"))
        path = folder / numbers["file"]
        data = path.read_bytes()
        if hashlib.sha256(data).hexdigest() != numbers["sha256"]:
            raise HashfedError(
                f"{path}: damaged (its checksum is not the one in {LATEST}); to start the run anew, "
                f"delete the folder {folder.parent}"
            )
        state.restore(load(data), numbers)
    except (OSError, ValueError, KeyError, TypeError, SafetensorError) as error:
        raise HashfedError(
            f"{latest}: no readable checkpoint ({type(error).__name__}: {error}); to start the run anew, "
            f"delete the folder {folder.parent}"
        ) from None
    return True
