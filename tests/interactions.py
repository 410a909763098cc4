"""A tiny made-up data set of users' items."""

from pathlib import Path
from typing import Any

from hashfed.config import Config, make_config
from hashfed.randomness import stream


def write_interactions(path: Path, users: int = 12, items: int = 20) -> Path:
    """Lines ``user item``: each item is followed by the next or the one after."""
    lines = []
    for user in range(users):
        rng = stream(0, "interactions", client=str(user))
        at = int(rng.integers(items))
        for step in rng.choice([1, 1, 1, 2], int(rng.integers(3, 9))):
            lines.append(f"u{user} i{at}\n")
            at = (at + int(step)) % items
    path.write_text("".join(lines))
    return path


def item_config(source: Path, **groups: Any) -> Config:
    """A small run on such a file."""
    tree: dict[str, Any] = {
        "data": {"task": "next-item", "source": str(source), "cutoffs": [3]},
        "model": {"name": "sasrec", "embedding": 8, "blocks": 1},
        "selection": {"budget": 0.6},
        "evaluation": {"every": 2},
        "rounds": 4,
        "cohort": 4,
        "workers": 1,
        "flower": {"clients": 4, "evaluation": "clients", "minimum_share": 0.1},
    }
    return make_config(tree | groups)
