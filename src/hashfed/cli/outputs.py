"""Files that a command is to write where it is told."""

from pathlib import Path

from hashfed.errors import HashfedError
from hashfed.files import check_writable
from hashfed.runs.folder import is_record


def check_output(path: Path, option: str = "--output") -> None:
    """Find out before a long work whether its result can be written there.

    Raises:
        HashfedError: where it cannot, or would replace what a run has written of itself.

    """
    if is_record(path):
        raise HashfedError(f"{option} = {path}: belongs to the run in that folder; choose another file")
    check_writable(path)
