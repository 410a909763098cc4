"""How far the reading of a large source is, in lines of a log."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from hashfed.tasks.reading import Tell

EVERY = 5_000_000
"""Texts between two lines: a minute or two."""


@contextmanager
def told_in_lines(say: Callable[[str], None]) -> Iterator[Tell]:
    """Says now and then how many texts were read in a pass, and at its end how many it has."""
    name, texts = "", 0

    def end() -> None:
        if name:
            say(f"preparing the data ({name}): all {texts:,} texts")

    def tell(this: str, more: int) -> None:
        nonlocal name, texts
        if this != name:
            end()
            name, texts = this, 0
        before, texts = texts, texts + more
        if before // EVERY < texts // EVERY:
            say(f"preparing the data ({name}): {texts:,} texts")

    yield tell
    end()
