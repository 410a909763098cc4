"""What a folder knows of its examples, so that no run need read all of them to begin.

It is what ``tasks.facts`` measures client by client, here block by block.
"""

import hashlib
from collections.abc import Iterator
from typing import Any

import numpy as np

from hashfed.models import INPUT, OUTPUT
from hashfed.tasks.facts import key_of, summary
from hashfed.tasks.federated_data import FederatedData
from hashfed.tasks.next_word.floors import measure_floors
from hashfed.tasks.next_word.prepared.layout import MappedClients
from hashfed.tasks.next_word.prepared.manifest import Facts
from hashfed.tasks.next_word.vocabulary import PAD, Vocabulary
from hashfed.tasks.sequences import Sequences

POSITIONS = 1 << 20
"""Those that are looked at a time."""


def measure(data: FederatedData[Vocabulary], train: MappedClients, held_out: MappedClients) -> Facts:
    """What ``Measured`` holds; ``train`` and ``held_out`` are those of ``data``."""
    checksum = hashlib.sha256(data.names.to_json().encode())
    found, predictions = list[np.ndarray](), 0
    for clients, sentences, sequences in _blocks(train):
        _add(checksum, clients, sentences, sequences)
        predictions += sequences.weight
        owner = np.repeat(np.arange(len(clients)), sentences)
        found.append(_distinct(owner, data.size, sequences.targets))
    for clients, sentences, sequences in _blocks(held_out):
        _add(checksum, clients, sentences, sequences)
    targets = np.concatenate(found)
    return Facts(
        sizes={
            "train_clients": len(train),
            "train_examples": int(train.sentences().sum()),
            "train_predictions": predictions,
            "held_out_clients": len(held_out),
            "held_out_examples": int(held_out.sentences().sum()),
        },
        own_rows={
            # One table in models whose embeddings are tied, and what is found in others: every word that
            # is read is found too, all but BOS.
            key_of((OUTPUT, INPUT)): dict(summary(targets + 1)),
            key_of((OUTPUT,)): dict(summary(targets)),
        },
        floors=dict(measure_floors(data).to_dict()),
        sha256=checksum.hexdigest(),
    )


def _blocks(clients: MappedClients) -> Iterator[tuple[MappedClients, np.ndarray, Sequences]]:
    """Neighbours with about ``POSITIONS``, how many sentences each has, and these in memory."""
    for some in clients.neighbours(POSITIONS):
        yield some, some.sentences(), some.joined().sequences


def _add(checksum: Any, clients: MappedClients, sentences: np.ndarray, sequences: Sequences) -> None:
    """As ``tasks.facts.digest``: each client's name, then its columns."""
    ends = np.cumsum(sentences)
    for client, start, stop in zip(clients, ends - sentences, ends, strict=True):
        checksum.update(client.name.encode())
        checksum.update(sequences.inputs[start:stop].data)
        checksum.update(sequences.targets[start:stop].data)


def _distinct(owner: np.ndarray, size: int, targets: np.ndarray) -> np.ndarray:
    """How many different ids each client has among its targets."""
    used = targets != PAD
    codes = np.repeat(owner, used.sum(1)) * size + targets[used]
    codes.sort()  # np.unique, which hashes, takes 70 times as long
    return np.bincount(codes[np.diff(codes, prepend=-1) > 0] // size, minlength=int(owner[-1]) + 1)
