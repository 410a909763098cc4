"""Random text for measurements: the cost of a round does not depend on what is said."""

import numpy as np

from hashfed.randomness import stream
from hashfed.tasks.federated_data import Client, FederatedData
from hashfed.tasks.next_word.vocabulary import SPECIAL, Vocabulary
from hashfed.tasks.sequences import Sequences


def synthetic_text(
    words: int, clients: int, sentences: int, length: int, seed: int = 0
) -> FederatedData[Vocabulary]:
    """Clients whose sentences are full: no padding, so every position is predicted.

    The chance of a word falls with its rank r as 1/r (Zipf's law), approximately: ranks are log-uniform.

    Args:
        words: V; the model has V + 4 rows.
        clients: training clients; one more is held out.
        sentences: of each client.
        length: positions of each sentence.
        seed: of the draws.

    """
    special = len(SPECIAL)
    counts = np.zeros(words + special, np.int64)
    made = []
    for number in range(clients + 1):
        uniform = stream(seed, "synthetic", number).random((sentences, length + 1))
        ranks = np.minimum(np.floor(words**uniform), words).astype(np.int32)  # from 1
        ids = ranks + np.int32(special - 1)
        made.append(Client(f"client-{number:06d}", Sequences(ids[:, :-1].copy(), ids[:, 1:].copy())))
        if number < clients:
            counts += np.bincount(ids[:, 1:].ravel(), minlength=len(counts))
    vocabulary = Vocabulary(tuple(f"word-{rank}" for rank in range(1, words + 1)))
    return FederatedData(vocabulary, tuple(made[:-1]), (made[-1],), counts)
