"""What the paper reports, to stand beside what a reproduction finds; sections and tables are the paper's."""

import math
from dataclasses import dataclass

from hashfed.reproduction.results import FULL

HASH = "simhash"
"""The method of ``methods.METHODS`` that is the paper's."""


@dataclass(frozen=True)
class PaperRow:
    """A line of the paper's table 2.

    Attributes:
        vocabulary: V.
        method: its name in ``methods.METHODS``.
        share: of the output parameters ("LOS Parameters").
        embedding: d.
        ffn: width of the feed-forward layer.
        parameters: of the model ("Params.").
        accuracy: in percent.
        spread: that is printed behind ±, in percent; of what, the paper does not say.

    """

    vocabulary: int
    method: str
    share: float
    embedding: int
    ffn: int
    parameters: float
    accuracy: float
    spread: float


TABLE2 = (
    PaperRow(10_000, FULL, 1.0, 96, 1536, 1.92e6, 24.54, 0.16),
    PaperRow(10_000, HASH, 0.3, 96, 2560, 1.71e6, 24.72, 0.16),
    PaperRow(80_000, FULL, 1.0, 96, 1536, 8.65e6, 24.41, 0.10),
    PaperRow(80_000, HASH, 0.3, 96, 8192, 6.34e6, 25.20, 0.09),
)
"""Table 2, as printed."""

GAINS = {10_000: 0.18, 80_000: 0.79}
"""By V: points of accuracy that hashing gains over full with the same parameters; differences of table 2."""

ALIKE_FROM = 0.3
"""Section 4.2: "with above 30% of the parameters, the hash-based sampling is able to be less than 0.05% full
training accuracy", read as points of accuracy."""


def paper_row(vocabulary: int, method: str) -> PaperRow | None:
    """The line of table 2 for just this vocabulary and method; None where it has none."""
    return next((row for row in TABLE2 if (row.vocabulary, row.method) == (vocabulary, method)), None)


def nearest_vocabulary(vocabulary: int) -> int:
    """That of the paper's two vocabularies which is closer in ratio."""
    return min(GAINS, key=lambda known: abs(math.log(known / vocabulary)))
