"""Texts by split and client, as JSON Lines, and what a run is given of them."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from hashfed.config import make_config
from hashfed.runs import load_data
from hashfed.tasks.federated_data import FederatedData
from hashfed.tasks.next_word.task import NextWordSettings
from hashfed.tasks.next_word.vocabulary import Vocabulary

Clients = Mapping[str, Sequence[str]]
"""Texts by the client's name."""
Splits = Mapping[str, Clients]
"""Clients by the split's name."""


def write_json_lines(path: Path, splits: Splits) -> Path:
    """What other forms of the same texts are compared with."""
    lines = [
        {"client": client, "texts": list(texts), "split": split}
        for split, clients in splits.items()
        for client, texts in clients.items()
    ]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


def load(source: Path, held_out: str = "test", **data: object) -> FederatedData[Vocabulary]:
    """Nine words, unless it is said otherwise."""
    return _load(_tree(source, data), held_out)


def load_prepared(
    source: Path, folder: Path, held_out: str = "test", **data: object
) -> FederatedData[Vocabulary]:
    """The same from a folder that is prepared of the source."""
    NextWordSettings.of(make_config({"data": _tree(source, data)}).data).build().prepare(folder)
    return _load({"source": str(folder)}, held_out)


def _tree(source: Path, data: Mapping[str, object]) -> dict[str, object]:
    return {"vocabulary": 9, "sentence_length": 6, "source": str(source), **data}


def _load(tree: Mapping[str, object], held_out: str) -> FederatedData[Vocabulary]:
    return load_data(make_config({"data": tree, "evaluation": {"clients": held_out}}))


def examples(data: FederatedData[Vocabulary]) -> tuple[object, ...]:
    """All that a run is given, in a form that can be compared."""
    sides = [
        [
            (client.name, {name: values.tolist() for name, values in client.examples.columns().items()})
            for client in side
        ]
        for side in (data.train, data.held_out)
    ]
    return data.names.words, data.label_counts.tolist(), *sides
