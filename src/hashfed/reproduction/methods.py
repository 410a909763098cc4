"""The methods that figure 1 compares; a new one is an entry here."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

PAPER_SELECTION = {"selection.sampling": "top", "selection.correction": "none"}
"""The rows that were found, and a softmax over them as it is (paper, section 3.1)."""
SKETCH = {"retrieval.method": "query-centroids", "retrieval.centroids": 32, "retrieval.code_bits": 8}
DRAWN = {"selection.sampling": "proportional", "selection.tail": 0.1}


@dataclass(frozen=True)
class Method:
    """A way to train on some of the rows.

    Attributes:
        title: in legends and tables.
        text: what it does, in a sentence.
        settings: that make it, by dotted name; the budget comes on top.
        paper: whether it is in the paper's figure 1.
        axes: settings of its own that are tuned besides the rates: those allowed, smallest first.
        start: where the trials of ``axes`` begin.

    """

    title: str
    text: str
    settings: Mapping[str, Any]
    paper: bool
    axes: Mapping[str, tuple[Any, ...]] = field(default_factory=dict)
    start: Mapping[str, Any] = field(default_factory=dict)


HASH_NUMBERS = (2, 4, 6, 8)
"""From which the paper chose K and L (section 4.1)."""

METHODS: dict[str, Method] = {
    "full": Method("Full", "Every client holds all rows.", {"retrieval.method": "full"}, paper=True),
    "random": Method(
        "Random",
        "A client's own rows and uniformly drawn ones, softmax over those held.",
        {"retrieval.method": "random", "selection.tail": 1.0} | PAPER_SELECTION,
        paper=True,
    ),
    "simhash": Method(
        "Hashing (the paper's)",
        "The union of a client's SimHash buckets, cut or padded at random; softmax over the rows held.",
        {"retrieval.method": "simhash-union", "retrieval.transform": "none", "selection.tail": 0.0}
        | PAPER_SELECTION,
        paper=True,
        axes={"retrieval.bits": HASH_NUMBERS, "retrieval.tables": HASH_NUMBERS},
        start={"retrieval.bits": 8, "retrieval.tables": 8},
    ),
    "mips": Method(
        "Exact MIPS",
        "The rows with the most softmax mass on a client's queries, found exactly; softmax over those held.",
        {"retrieval.method": "exact", "selection.tail": 0.0} | PAPER_SELECTION,
        paper=True,
    ),
    "sample": Method(
        "Ours, sample",
        "Rows drawn by the mass that a sketch of the queries predicts, logits corrected for their chances.",
        SKETCH | DRAWN | {"selection.correction": "tail"},
        paper=False,
    ),
    "planes": Method(
        "Ours, planes",
        "The same draw, and all other rows as 32 planes that correct it (control variate).",
        SKETCH | DRAWN | {"selection.correction": "control-variate", "selection.planes": 32},
        paper=False,
    ),
}
"""By the name that ``--methods`` takes, in the order of legends."""
