"""Which files of a folder are data, and why the others are none."""

import os
import stat
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path, PurePath

from hashfed.errors import HashfedError

TEXT = ".txt"
JSON_LINES = (".jsonl", ".jsonl.gz")
COMPRESSED = (".gz", ".bz2", ".xz", ".zst", ".zip")
OF_SYSTEMS = ("__MACOSX", "$RECYCLE.BIN", "System Volume Information", "lost+found", "@eaDir", "#recycle")
"""Folders that operating systems and storage servers make by themselves: copies, and what was deleted."""
LONGEST_SUFFIX = 12


@dataclass
class _Walk:
    root: str
    suffixes: tuple[str, ...]
    files: list[Path] = field(default_factory=list)
    left_out: Counter[str] = field(default_factory=Counter)
    seen: set[str] = field(default_factory=set)
    """Real paths of folders that are walked and of files."""
    inodes: set[tuple[int, int]] = field(default_factory=set)
    """Of files, which may have a second name (a hard link)."""
    links: list[Path] = field(default_factory=list)
    """Found and not yet followed."""


def find_files(
    folder: Path, suffixes: tuple[str, ...] = (TEXT, *JSON_LINES)
) -> tuple[list[Path], Counter[str]]:
    """The files with texts under a folder in order of their paths, and the number of others by reason.

    ``suffixes`` in small letters are those of files with texts.

    Links are followed, and whatever they lead to is read once: under its own name, else under that of the
    first link. So no copy of a client becomes a client, and no circle of links is endless.

    Raises:
        HashfedError: where a folder cannot be read, naming it.

    """
    walk = _Walk(os.path.realpath(folder), suffixes)
    _walk_folder(walk, folder, walk.root)
    while walk.links:
        links, walk.links = sorted(walk.links), []
        for link in links:
            _follow(walk, link)
    return sorted(walk.files), +walk.left_out  # without zeros, of hidden folders that are empty


def _walk_folder(walk: _Walk, folder: Path, real: str) -> None:
    waiting = [(folder, real)]
    while waiting:
        folder, real = waiting.pop()
        if real in walk.seen:
            continue
        walk.seen.add(real)
        for entry in sorted(_entries(folder), key=lambda item: item.name):
            path, its_real = folder / entry.name, os.path.join(real, entry.name)  # noqa: PTH118
            if is_hidden(entry.name):
                walk.left_out["hidden"] += _count(entry)
            elif entry.is_symlink():
                walk.links.append(path)
            elif entry.is_dir(follow_symlinks=False):
                waiting.append((path, its_real))
            else:
                _add_file(walk, path, its_real, entry.stat(follow_symlinks=False))


def _follow(walk: _Walk, link: Path) -> None:
    real = os.path.realpath(link)
    try:
        status = os.stat(real)  # noqa: PTH116
    except OSError:
        walk.left_out["linked to nothing"] += 1
        return
    if real in walk.seen or walk.root.startswith(real.rstrip(os.sep) + os.sep):
        walk.left_out["linked twice"] += 1
    elif stat.S_ISDIR(status.st_mode):
        _walk_folder(walk, link, real)
    else:
        _add_file(walk, link, real, status)


def _add_file(walk: _Walk, path: Path, real: str, status: os.stat_result) -> None:
    if not path.name.lower().endswith(walk.suffixes):
        walk.left_out[_suffix(path.name)] += 1
    elif not stat.S_ISREG(status.st_mode):
        walk.left_out["not regular"] += 1  # a pipe might never end
    elif (status.st_dev, status.st_ino) in walk.inodes:
        walk.left_out["linked twice"] += 1
    else:
        walk.seen.add(real)
        walk.inodes.add((status.st_dev, status.st_ino))
        walk.files.append(path)


def _entries(folder: Path) -> Iterator["os.DirEntry[str]"]:
    try:
        with os.scandir(folder) as entries:
            yield from entries
    except OSError as error:
        raise HashfedError(f"{folder}: {error.strerror or error}") from None


def is_hidden(name: str) -> bool:
    """Whether it is hidden by its name, or known to be no user's."""
    return name.startswith((".", "~$")) or name in OF_SYSTEMS


def _count(entry: "os.DirEntry[str]") -> int:
    """Files that are hidden with an entry."""
    if not entry.is_dir(follow_symlinks=False):
        return 1
    return sum(len(files) for _, _, files in os.walk(entry.path))


def _suffix(name: str) -> str:
    suffixes = PurePath(name.lower()).suffixes
    last = "".join(suffixes[-2:] if suffixes and suffixes[-1] in COMPRESSED else suffixes[-1:])
    if not last:
        return "without a suffix"
    return last if len(last) <= LONGEST_SUFFIX and last.isprintable() else "of other kinds"
