"""What files' names say of what their clients are for."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath

from hashfed.data.client_texts import Group
from hashfed.data.part import SPLITS
from hashfed.display import brief, printable
from hashfed.errors import HashfedError

WORDS: dict[str, Group] = {
    **SPLITS,
    "training": "train",
    "valid": "validation",
    "val": "validation",
    "dev": "validation",
}
_WORD = re.compile(r"[a-z]+")


@dataclass(frozen=True)
class SplitFile:
    """A file, the group of its clients (None: their names decide), and what messages call it."""

    path: Path
    group: Group | None
    label: str


def alone(path: Path) -> SplitFile:
    """A file beside which there are no others: its name states no split, for there is none."""
    return SplitFile(path, None, str(path))


def split_files(folder: Path, paths: Sequence[Path]) -> list[SplitFile]:
    """Files (or folders) under a folder with the groups that their names state.

    A split is stated where there are at least two groups: ``train_data.json`` and ``test_data.json``, or
    ``train/0.json`` and ``test/0.json``.

    Raises:
        HashfedError: where the group of some is stated and of others not.

    """
    groups = [stated_group(path.relative_to(folder)) for path in paths]
    if len({group for group in groups if group is not None}) < 2:
        groups = [None] * len(paths)
    elif None in groups:
        other = paths[groups.index(None)]
        stated = next(path for path, group in zip(paths, groups, strict=True) if group is not None)
        raise HashfedError(
            f"{folder}: the split of {_said(stated, folder)} is stated by its name, but not that of "
            f"{_said(other, folder)}; state it for all or for none"
        )
    return [SplitFile(path, group, str(path)) for path, group in zip(paths, groups, strict=True)]


def stated_group(path: PurePath) -> Group | None:
    """The one group that a file's name says, else the nearest folder's; None where none does."""
    for name in (path.name.split(".")[0], *(parent.name for parent in path.parents)):
        words = _WORD.findall(name.lower().replace("held_out", "heldout").replace("held-out", "heldout"))
        found = {WORDS[word] for word in words if word in WORDS}
        if len(found) == 1:
            return found.pop()
    return None


def _said(path: Path, folder: Path) -> str:
    return printable(brief(path.relative_to(folder).as_posix()))
