"""Numbers for words, and how often each word occurs, however many different ones there are.

Words are held in memory up to a number of them; then they go to a file in alphabetical order, and a word that
comes again gets another number. All files are merged at the end: what is held hardly grows with the texts.
"""

import heapq
import itertools
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from operator import itemgetter
from pathlib import Path

import numpy as np

from hashfed.files import writing

MOST = 1 << 19
"""Different words held at a time (about 80 MB)."""
UNCOUNTED = 1 << 18
"""Numbers of words held before they are counted."""


class WordTotals:
    """Numbers words, from 0, and counts them.

    Args:
        folder: for the files; must exist.
        most: different words held at a time.

    """

    def __init__(self, folder: Path, most: int = MOST) -> None:
        self._folder, self._most = folder, most
        self._numbers: defaultdict[str, int] = defaultdict(itertools.count().__next__)
        self._first = 0
        """The lowest number of those held."""
        self._counts = np.zeros(0, np.int64)
        self._uncounted: list[int] = []
        self._files: list[Path] = []

    def add(self, words: Sequence[str], counted: bool = True) -> list[int]:
        """The numbers of the words of a text, which are counted or not."""
        numbers = list(map(self._numbers.__getitem__, words))
        if counted:
            self._uncounted += numbers
            if len(self._uncounted) > UNCOUNTED:
                self._count()
        if len(self._numbers) > self._most:
            self._write()
        return numbers

    def __iter__(self) -> Iterator[tuple[str, int]]:
        """Every word that was counted with its count, in alphabetical order."""
        self._write()
        merged = heapq.merge(*map(_counted, self._files), key=itemgetter(0))
        return _joined(merged)

    def ids(self, ids: Mapping[str, int], otherwise: int, dtype: np.dtype) -> np.ndarray:
        """What each number stands for: the id of its word, or ``otherwise``; one for each number given."""
        self._write()
        found = np.full(self._first, otherwise, dtype)
        for path in self._files:
            for number, _, word in _read(path):
                id = ids.get(word)
                if id is not None:
                    found[int(number)] = id
        return found

    def _count(self) -> None:
        numbers = np.array(self._uncounted, np.int64) - self._first
        self._uncounted.clear()
        counts = np.bincount(numbers, minlength=len(self._numbers))
        counts[: len(self._counts)] += self._counts
        self._counts = counts

    def _write(self) -> None:
        if not self._numbers:
            return
        self._count()
        path, first = self._folder / f"words-{len(self._files)}.txt", self._first
        counts, numbers = self._counts.tolist(), self._numbers
        with writing(path), path.open("w", encoding="utf-8", errors="surrogatepass", newline="\n") as file:
            for word in sorted(numbers):
                number = numbers[word]
                file.write(f"{number} {counts[number - first]} {word}\n")
        self._files.append(path)
        self._first += len(numbers)
        self._counts = np.zeros(0, np.int64)
        self._numbers.clear()


def _read(path: Path) -> Iterator[tuple[str, str, str]]:
    # Words hold no white space, and lines end at nothing else.
    with path.open(encoding="utf-8", errors="surrogatepass", newline="\n") as file:
        for line in file:
            number, count, word = line.rstrip("\n").split(" ", 2)
            yield number, count, word


def _counted(path: Path) -> Iterator[tuple[str, int]]:
    for _, count, word in _read(path):
        if count != "0":
            yield word, int(count)


def _joined(counts: Iterable[tuple[str, int]]) -> Iterator[tuple[str, int]]:
    for word, same in itertools.groupby(counts, key=itemgetter(0)):
        yield word, sum(count for _, count in same)
