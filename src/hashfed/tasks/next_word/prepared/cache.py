"""Large sources that are given as they are: prepared once, in a folder of the user's cache."""

import hashlib
import json
import os
import warnings
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from hashfed.data.formats import recognise
from hashfed.data.part import Part
from hashfed.display import printable
from hashfed.errors import HashfedError, HashfedWarning
from hashfed.files import check_writable, with_home
from hashfed.hardware import show_bytes
from hashfed.tasks.next_word.prepared.build import prepare
from hashfed.tasks.next_word.prepared.manifest import FIXED, NAME, OF_SOURCES, VERSION, is_prepared
from hashfed.tasks.next_word.prepared.new_folder import ThereError
from hashfed.tasks.next_word.prepared.source_clients import Pieces
from hashfed.tasks.next_word.settings import TextSettings
from hashfed.tasks.next_word.vocabulary import Vocabulary
from hashfed.tasks.reading import Tell, tell_nobody

LARGE = 1 << 28
"""Bytes of a source, as it lies on disk, above which it is not read into memory."""
VARIABLE = "HASHFED_CACHE"
"""Of the environment: the folder for what can be made again."""
REMEDY = f"set {VARIABLE} to a folder with room"


def cache_folder() -> Path:
    """``$HASHFED_CACHE``, else ``hashfed`` in ``$XDG_CACHE_HOME`` or ``~/.cache``.

    Raises:
        HashfedError: where none is known.

    """
    given = os.environ.get(VARIABLE)
    if given:
        return Path(with_home(given))
    try:
        return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "hashfed"
    except RuntimeError:  # Python's, where there is no home
        raise HashfedError(f"no home folder is known for the cache of large sources; {REMEDY}") from None


def needs_preparation(settings: TextSettings, part: Part) -> bool:
    """Whether a source is too large to be read into memory.

    A database of TensorFlow Federated of which a few clients are needed is not: only these are read.
    """
    if settings.source in settings.named or sum(size for _, size, _ in _files(settings.source)) <= LARGE:
        return False
    return not part.is_bounded or (settings.format or recognise(Path(settings.source))) != "tff"


def in_folder(settings: TextSettings, folder: Path) -> TextSettings:
    """The settings of a run from the prepared folder of their source."""
    return settings.model_copy(update={"source": str(folder), **dict.fromkeys(OF_SOURCES)})


def key(settings: TextSettings) -> str:
    """By what a source and the settings with which it is prepared are found again.

    That is: the source's absolute path; name, size and time of change of its files, and of the word counts;
    and the settings.
    """
    places = [settings.source, *([settings.word_counts] if settings.word_counts else [])]
    stated = {
        "layout": VERSION,
        "sources": [[str(Path(place).absolute()), *_files(place)] for place in places],
        "settings": {name: getattr(settings, name) for name in (*FIXED, *OF_SOURCES)},
    }
    return hashlib.sha256(json.dumps(stated, sort_keys=True).encode()).hexdigest()[:32]


def cached(
    pieces: Pieces, settings: TextSettings, vocabulary: Vocabulary | None, tell: Tell = tell_nobody
) -> Path:
    """The prepared folder of a source, which is made where it is not there yet; ``tell`` is told how far.

    Raises:
        HashfedError: as ``prepare``, and where there is no cache.

    """
    folder = cache_folder() / "prepared" / key(settings)
    if not is_prepared(str(folder)):
        size = show_bytes(sum(size for _, size, _ in _files(settings.source)))
        told = (
            f"data.source = {printable(settings.source)}: {size}, prepared once, in {printable(str(folder))}"
        )
        try:
            check_writable(folder / NAME)
        except HashfedError as error:
            raise HashfedError(f"{error}; {REMEDY}") from None
        warnings.warn(told, HashfedWarning, stacklevel=2)
        try:
            prepare(pieces, settings, folder, vocabulary, tell, wait=True)
        except ThereError:
            if not is_prepared(str(folder)):  # else made by another process meanwhile
                raise HashfedError(
                    f"{printable(str(folder))}: is there without its {NAME}; delete it"
                ) from None
    return folder


def _files(source: str) -> list[tuple[str, int, int]]:
    """Name, bytes and time of change (nanoseconds) of a source's files."""
    path, found = Path(source), []
    with suppress(OSError):  # no file, which its reader says
        for one in _below(path):
            there = one.stat()
            found.append((str(one.relative_to(path)), there.st_size, there.st_mtime_ns))
    return found


def _below(path: Path) -> Iterator[Path]:
    """The file, or those in the folder; links are followed, for readers do so, and none in circles."""
    if not path.is_dir():
        yield from [path] if path.is_file() else ()
        return
    seen = set[str]()
    for here, folders, files in os.walk(path, followlinks=True):
        real = os.path.realpath(here)
        if real in seen:
            folders.clear()
            continue
        seen.add(real)
        folders.sort()
        yield from (one for name in sorted(files) if (one := Path(here, name)).is_file())
