"""Small files in the format of the XC repository, whose labels follow from their features."""

import gzip
from pathlib import Path
from typing import Any

import numpy as np

from hashfed.config import Config, make_config
from hashfed.tasks.label_sets import LabelSets

FEATURES, LABELS = 24, 16


def label_sets(*examples: tuple[dict[int, float], list[int]]) -> LabelSets:
    """Of features with values, and labels, by example."""
    features = [feature for one, _ in examples for feature in one]
    values = [value for one, _ in examples for value in one.values()]
    labels = [label for _, one in examples for label in one]
    return LabelSets(
        np.array(features, np.int32),
        np.array(values, np.float32),
        np.array([len(one) for one, _ in examples], np.int64),
        np.array(labels, np.int32),
        np.array([len(one) for _, one in examples], np.int64),
    )


def write_examples(path: Path, count: int, seed: int) -> Path:
    """Examples of one or two labels; label i has the features i and i + 8, and there is one of no meaning."""
    rng = np.random.default_rng(seed)
    lines = [f"{count} {FEATURES} {LABELS}"]
    for _ in range(count):
        labels = sorted({int(label) for label in rng.integers(0, LABELS, rng.integers(1, 3))})
        features = sorted(
            {f for label in labels for f in (label, label + 8)} | {int(rng.integers(0, FEATURES))}
        )
        pairs = (f"{feature}:{rng.integers(1, 4)}" for feature in features)
        lines.append(f"{','.join(map(str, labels))} {' '.join(pairs)}")
    data = ("\n".join(lines) + "\n").encode()
    path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)
    return path


def write_data(folder: Path, clients: int = 6) -> Path:
    """``train.txt.gz``, ``test.txt``, ``ids.txt``, ``labels.txt`` and ``features.txt``."""
    write_examples(folder / "train.txt.gz", 60, 1)
    write_examples(folder / "test.txt", 20, 2)
    (folder / "ids.txt").write_text("".join(f"c{place % clients}\n" for place in range(60)))
    (folder / "labels.txt").write_text("".join(f"label {label}\n" for label in range(LABELS)))
    (folder / "features.txt").write_text("".join(f"word{feature}\n" for feature in range(FEATURES)))
    return folder


def labels_config(folder: Path, **groups: Any) -> Config:
    """A tiny model on ``write_data``; ``groups`` replace or extend whole groups of settings."""
    tree: dict[str, Any] = {
        "data": {
            "task": "labels",
            "source": str(folder / "train.txt.gz"),
            "test": str(folder / "test.txt"),
            "client_ids": str(folder / "ids.txt"),
        },
        "model": {"name": "bag", "hidden": 8},
        "selection": {"budget": 0.5},
        "client": {"examples": 6, "batch_size": 2},
        "evaluation": {"every": 2},
        "rounds": 4,
        "cohort": 3,
        "workers": 1,
        "flower": {"clients": 6, "evaluation": "clients", "minimum_share": 0.1},
    }
    for name, value in groups.items():
        tree[name] = tree[name] | value if isinstance(value, dict) and name in tree else value
    return make_config(tree)
