"""A vocabulary from a file of word counts, such as TFF's of Stack Overflow."""

import warnings
from pathlib import Path

from hashfed.data.formats import is_pickle
from hashfed.data.unpacking import archived_lines, first_lines, is_archive
from hashfed.display import shown
from hashfed.errors import HashfedError, HashfedWarning
from hashfed.tasks.next_word.vocabulary import SPECIAL, Vocabulary

SUFFIX = ".word_count"
"""Of the file in an archive."""
LONGEST = 10_000
"""Bytes of a line."""


def read_word_counts(path: Path, size: int, setting: str = "data.word_counts") -> Vocabulary:
    """The first words of a file with a line ``word count`` for each, most frequent first.

    Args:
        path: of the file, or of a tar archive with one file ``*.word_count``.
        size: V, number of words.
        setting: what messages call the file.

    Raises:
        HashfedError: where it cannot be read, is no such file, or has fewer words.

    """
    where = f"{setting} = {path}"
    if is_pickle(path):
        raise HashfedError(
            f"{where}: a pickle, which is never read, for it may run anything; give the words as text, a "
            "line 'word count' for each, most frequent first"
        )
    try:
        if is_archive(path.name):
            lines = archived_lines(path, SUFFIX, size, LONGEST)
        else:
            with path.open("rb") as file:
                lines = first_lines(file, size, LONGEST)
    except OSError as error:
        raise HashfedError(f"{where}: {error.strerror or error}") from None
    counts: dict[str, int] = {}
    before, rises = None, 0
    for number, line in enumerate(lines, start=1):
        word, count = _parse(line, f"{where}, line {number}")
        if word in counts or word in SPECIAL:
            problem = "there before" if word in counts else "a special symbol of ours"
            raise HashfedError(f"{where}, line {number}: the word {shown(word)} is {problem}")
        if before is not None and count > before:
            rises = rises or number
        counts[word] = before = count
    if len(counts) < size:
        raise HashfedError(f"data.vocabulary = {size}: {path} has only {len(counts)} words")
    if rises:
        warnings.warn(
            f"{where}: not most frequent first (line {rises}); its first {size:,} words are taken",
            HashfedWarning,
            stacklevel=2,
        )
    return Vocabulary(tuple(counts))


def _parse(line: bytes, where: str) -> tuple[str, int]:
    try:
        parts = line.decode().split()
    except UnicodeDecodeError:
        parts = []
    if len(parts) != 2 or not parts[1].isascii() or not parts[1].isdigit():
        raise HashfedError(f"{where}: {shown(line)}: must be a word and its count, such as 'the 341234'")
    return parts[0], int(parts[1])
