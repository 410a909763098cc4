"""Whether a prepared folder is as it was written."""

from pathlib import Path

from hashfed.display import printable
from hashfed.errors import HashfedError
from hashfed.tasks.next_word.prepared.columns import SUFFIX, checksum
from hashfed.tasks.next_word.prepared.load import read_vocabulary
from hashfed.tasks.next_word.prepared.manifest import NAME, check_columns, is_prepared, read_manifest


def check_folder(folder: Path) -> int:
    """Read every file and compare it with its checksum; returns how many.

    Raises:
        HashfedError: naming the first that is another, or where there is no such folder.

    """
    if not is_prepared(str(folder)):
        raise HashfedError(
            f"FOLDER = {printable(str(folder))}: none that hashfed data prepare made (it has no {NAME})"
        )
    manifest = read_manifest(folder, "FOLDER")
    check_columns(folder, manifest)
    read_vocabulary(folder, manifest)
    for name, column in manifest.columns.items():
        path = folder / f"{name}{SUFFIX}"
        if checksum(path) != column.sha256:
            raise HashfedError(f"{path}: damaged (another checksum than when it was prepared)")
    return len(manifest.columns) + 1
