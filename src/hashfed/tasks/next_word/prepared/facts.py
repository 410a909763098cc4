"""What a folder knows of its examples, so that no run need read all of them to begin."""

from typing import Any

from hashfed.models import INPUT, OUTPUT
from hashfed.tasks.facts import digest, key_of, own_rows, sizes
from hashfed.tasks.federated_data import FederatedData, Measured
from hashfed.tasks.next_word.floors import measure_floors
from hashfed.tasks.next_word.vocabulary import Vocabulary

TABLES = (OUTPUT, INPUT), (OUTPUT,)
"""That are one table in models whose embeddings are tied, and in others."""


def measure(data: FederatedData[Vocabulary]) -> dict[str, Any]:
    """What ``Measured`` holds, for JSON."""
    return {
        "sizes": sizes(data.train, data.held_out),
        "own_rows": {key_of(tables): own_rows(data.train, tables) for tables in TABLES},
        "floors": measure_floors(data).to_dict(),
        "sha256": digest(data),
    }


def measured(tree: dict[str, Any]) -> Measured:
    """The same from JSON."""
    return Measured(tree["sizes"], tree["own_rows"], tree["floors"], tree["sha256"])
