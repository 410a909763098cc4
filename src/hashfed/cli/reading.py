"""What is shown while a large source is read: by ``hashfed data prepare``, and before the work of others."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from tqdm import tqdm

from hashfed.cli.streams import say
from hashfed.config import Config
from hashfed.runs import load_data
from hashfed.runs.reading import told_in_lines
from hashfed.tasks.federated_data import FederatedData
from hashfed.tasks.reading import Tell


def load_shown(config: Config) -> FederatedData[Any]:
    """As ``load_data``, which reads a large source for a long time when it meets it first.

    Raises:
        HashfedError: as ``load_data``.

    """
    with reading_shown() as tell:
        return load_data(config, tell)


@contextmanager
def reading_shown() -> Iterator[Tell]:
    """A bar for each pass, with how many texts were read; lines where nobody watches a terminal."""
    if sys.stderr.isatty():
        with _bars() as tell:
            yield tell
    else:
        with told_in_lines(lambda line: say(f"hashfed: {line}")) as tell:
            yield tell


@contextmanager
def _bars() -> Iterator[Tell]:
    bars: dict[str, tqdm[Any]] = {}

    def tell(name: str, texts: int) -> None:
        if name not in bars:
            for bar in bars.values():
                bar.close()
            bars[name] = tqdm(desc=name, unit=" texts", unit_scale=True, dynamic_ncols=True)
        bars[name].update(texts)

    try:
        yield tell
    finally:
        for bar in bars.values():
            bar.close()
