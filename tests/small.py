"""Small federated texts with words that follow each other, for tests that train."""

import importlib.util
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hashfed.config import Config, make_config
from hashfed.data import read_texts
from hashfed.retrieval import BY_METHOD, METHODS
from hashfed.tasks.federated_data import FederatedData
from hashfed.tasks.next_word.clients import build_federated_text
from hashfed.tasks.next_word.task import NextWordSettings
from hashfed.tasks.next_word.vocabulary import Vocabulary

NO_HNSWLIB = pytest.mark.skipif(importlib.util.find_spec("hnswlib") is None, reason="needs hashfed[hnswlib]")
INSTALLED = [pytest.param(name, marks=NO_HNSWLIB if name == "hnswlib" else ()) for name in METHODS]
"""Retrieval methods, for ``parametrize``; a library that builds nowhere by itself may be missing."""
PATIENCE = 1800
"""Seconds, in place of none: a limit that only what hangs reaches, however busy the machine is."""
WORDS = [f"w{rank}" for rank in range(60)]


def write_texts(path: Path, clients: int = 24, seed: int = 1) -> Path:
    """Texts in which word i is often followed by word i + 1, by client."""
    rng = np.random.default_rng(seed)
    frequency = 1 / np.arange(1, len(WORDS) + 1)
    frequency /= frequency.sum()
    with path.open("w") as file:
        for client in range(clients):
            texts = []
            for _ in range(int(rng.integers(3, 12))):
                word = int(rng.choice(len(WORDS), p=frequency))
                words = []
                for _ in range(int(rng.integers(1, 9))):
                    words.append(WORDS[word])
                    follow = rng.random() < 0.7
                    word = (word + 1) % len(WORDS) if follow else int(rng.choice(len(WORDS), p=frequency))
                texts.append(" ".join(words))
            file.write(json.dumps({"client": f"c{client}", "texts": texts}) + "\n")
    return path


def write_quoted(path: Path) -> Path:
    """Texts whose words the two tokenizers see differently, with straight and typographic apostrophes."""
    with path.open("w") as file:
        for number in range(24):
            apostrophe = "'’"[number % 2]
            line = f"café {number % 5} it{apostrophe}s 'w{number % 7}' naïve"
            file.write(json.dumps({"client": f"c{number}", "texts": [line] * 3}) + "\n")
    return path


def small_config(texts: Path, **groups: object) -> Config:
    """A tiny model on ``texts``; ``groups`` replace or extend whole groups of settings."""
    tree: dict[str, object] = {
        "data": {"source": str(texts), "vocabulary": 40, "sentence_length": 6},
        "model": {"embedding": 8, "attention": 8, "heads": 2, "ffn": 16, "blocks": 2},
        "selection": {"budget": 0.6},
        "client": {"examples": 6, "batch_size": 2},
        "evaluation": {"every": 2},
        "rounds": 4,
        "cohort": 5,
        "workers": 1,
    }
    asked = groups.get("retrieval", {})
    if isinstance(asked, dict):
        groups["retrieval"] = fitting(asked.get("method", BY_METHOD.default), bits=3, tables=6) | asked
    if isinstance(chosen := groups.get("selection"), dict) and chosen.get("extra") is not None:
        del tree["selection"]
    for name, value in groups.items():
        base = tree.get(name)
        tree[name] = base | value if isinstance(base, dict) and isinstance(value, dict) else value
    return make_config(tree)


def fitting(method: str, **settings: object) -> dict[str, Any]:
    """The group of a retrieval method, with those of ``settings`` that it has."""
    known = BY_METHOD.kinds[method].model_fields
    return {"method": method} | {name: value for name, value in settings.items() if name in known}


def small_data(texts: Path) -> FederatedData[Vocabulary]:
    """The clients of ``texts`` with the vocabulary of ``small_config``."""
    return build_federated_text(read_texts(str(texts)), NextWordSettings(vocabulary=40, sentence_length=6))


def prepare(texts: Path, **flower: object) -> tuple[Config, FederatedData[Vocabulary]]:
    """A configuration for rounds over a network, which all clients of ``texts`` join, and the data."""
    data = small_data(texts)
    settings = {"clients": len(data.train), "deadline": 600, "minimum_share": 0.1} | flower
    return small_config(texts, cohort=9, flower=settings), data
