"""A source that is read again and again from its beginning."""

import warnings
from collections.abc import Iterator
from dataclasses import dataclass

from hashfed.data import stream_texts
from hashfed.data.client_texts import ClientTexts
from hashfed.data.left_out import LeftOut
from hashfed.data.streams import said
from hashfed.errors import HashfedWarning
from hashfed.tasks.next_word.settings import TextSettings


@dataclass
class SourcePieces:
    """Yields clients' texts in pieces; what is not read of the source is told once.

    Attributes:
        settings: of the data.
        told: whether it was.

    """

    settings: TextSettings
    told: bool = False

    def __call__(self) -> Iterator[ClientTexts]:
        """From the beginning."""
        data, left_out = self.settings, LeftOut()
        yield from stream_texts(data.source, "data.source", data.format, left_out, data.columns)
        if str(left_out) and not self.told:
            self.told = True
            warnings.warn(f"{said(data.source, 'data.source')}: {left_out}", HashfedWarning, stacklevel=2)
