"""How often each word occurs, however many different ones there are.

Counts are held in memory up to a number of words; then they go to a file in order of the words, and all such
files are merged at the end: what is held does not grow with the texts.
"""

import heapq
import itertools
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from operator import itemgetter
from pathlib import Path

from hashfed.files import writing

MOST = 1 << 19
"""Different words held at a time (about 50 MB, and 40 more when they are sorted)."""


class WordTotals:
    """Counts words.

    Args:
        folder: for the files; must exist.
        most: different words held at a time.

    """

    def __init__(self, folder: Path, most: int = MOST) -> None:
        self._folder, self._most = folder, most
        self._counts: Counter[str] = Counter()
        self._files: list[Path] = []

    def add(self, words: Sequence[str]) -> None:
        """Count the words of a text."""
        self._counts.update(words)
        if len(self._counts) > self._most:
            self._write()

    def __iter__(self) -> Iterator[tuple[str, int]]:
        """Every word with its count, in alphabetical order where there are files, else in any."""
        if not self._files:
            return iter(self._counts.items())
        if self._counts:
            self._write()
        merged = heapq.merge(*map(_read, self._files), key=itemgetter(0))
        return _joined(merged)

    def _write(self) -> None:
        path = self._folder / f"words-{len(self._files)}.txt"
        with writing(path), path.open("w", encoding="utf-8", errors="surrogatepass", newline="\n") as file:
            file.writelines(f"{count} {word}\n" for word, count in sorted(self._counts.items()))
        self._files.append(path)
        self._counts.clear()


def _read(path: Path) -> Iterator[tuple[str, int]]:
    # Words hold no white space, and lines end at nothing else.
    with path.open(encoding="utf-8", errors="surrogatepass", newline="\n") as file:
        for line in file:
            count, _, word = line.rstrip("\n").partition(" ")
            yield word, int(count)


def _joined(counts: Iterable[tuple[str, int]]) -> Iterator[tuple[str, int]]:
    for word, same in itertools.groupby(counts, key=itemgetter(0)):
        yield word, sum(count for _, count in same)
