"""What a folder knows of its examples, so that no run need read all of them to begin.

It is what ``tasks.facts`` measures client by client, here block by block.
"""

import hashlib
from collections.abc import Iterator
from typing import Any

import numpy as np

from hashfed.models import INPUT, OUTPUT
from hashfed.tasks.examples import neighbours
from hashfed.tasks.facts import key_of, summary
from hashfed.tasks.federated_data import BLOCK, FederatedData
from hashfed.tasks.next_word.floors import measure_floors
from hashfed.tasks.next_word.prepared.layout import MappedClients
from hashfed.tasks.next_word.prepared.manifest import Facts
from hashfed.tasks.next_word.vocabulary import PAD, Vocabulary
from hashfed.tasks.sequences import Sequences


def measure(data: FederatedData[Vocabulary], train: MappedClients, held_out: MappedClients) -> Facts:
    """What ``Measured`` holds; ``train`` and ``held_out`` are those of ``data``."""
    checksum = hashlib.sha256(data.names.to_json().encode())
    tied, found, predictions = list[np.ndarray](), list[np.ndarray](), 0
    for clients, sentences, sequences in _blocks(train):
        _add(checksum, clients, sentences, sequences)
        predictions += sequences.weight
        owner = np.repeat(np.arange(len(clients)), sentences)
        tied.append(_distinct(owner, data.size, sequences.inputs, sequences.targets))
        found.append(_distinct(owner, data.size, sequences.targets))
    for clients, sentences, sequences in _blocks(held_out):
        _add(checksum, clients, sentences, sequences)
    return Facts(
        sizes={
            "train_clients": len(train),
            "train_examples": int(train.sentences().sum()),
            "train_predictions": predictions,
            "held_out_clients": len(held_out),
            "held_out_examples": int(held_out.sentences().sum()),
        },
        own_rows={
            # One table in models whose embeddings are tied, and what is found in others.
            key_of((OUTPUT, INPUT)): dict(summary(np.concatenate(tied))),
            key_of((OUTPUT,)): dict(summary(np.concatenate(found))),
        },
        floors=dict(measure_floors(data).to_dict()),
        sha256=checksum.hexdigest(),
    )


def _blocks(clients: MappedClients) -> Iterator[tuple[MappedClients, np.ndarray, Sequences]]:
    """Neighbours with about ``BLOCK`` positions, how many sentences each has, and these in memory."""
    counts = clients.sentences()
    for start, stop in neighbours(counts, BLOCK // clients.store.length):
        some = clients[start:stop]
        yield some, counts[start:stop], some.joined().sequences


def _add(checksum: Any, clients: MappedClients, sentences: np.ndarray, sequences: Sequences) -> None:
    """As ``tasks.facts.digest``: each client's name, then its columns."""
    ends = np.cumsum(sentences)
    for client, start, stop in zip(clients, ends - sentences, ends, strict=True):
        checksum.update(client.name.encode())
        checksum.update(sequences.inputs[start:stop].data)
        checksum.update(sequences.targets[start:stop].data)


def _distinct(owner: np.ndarray, size: int, *columns: np.ndarray) -> np.ndarray:
    """How many ids each client has where there is a target; the last of ``columns`` are the targets."""
    used = columns[-1] != PAD
    owners = np.broadcast_to(owner[:, None], used.shape)[used]
    codes = np.unique(np.concatenate([owners * size + column[used] for column in columns]))
    return np.bincount(codes // size, minlength=int(owner[-1]) + 1)
