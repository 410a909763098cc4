"""Every random number comes from one seed, split by purpose, round and client.

A draw depends only on (seed, purpose, round, client), never on which process makes it or on what was
drawn before: the number of workers, the order of clients and a resumed run change nothing.
"""

import hashlib

import numpy as np


def _words(text: str) -> list[int]:
    """Four 32-bit words that stand for ``text`` (stable across machines, unlike ``hash``)."""
    digest = hashlib.sha256(text.encode()).digest()
    return [int.from_bytes(digest[i : i + 4], "little") for i in range(0, 16, 4)]


def stream(seed: int, purpose: str, round: int = 0, client: str = "") -> np.random.Generator:
    """The generator for one purpose, round and client.

    Args:
        seed: the run's seed, ≥ 0.
        purpose: what the numbers are for, such as ``"cohort"``.
        round: the round's number, ≥ 0 (0 for what happens once).
        client: the client's name ("" for what the server draws for all).

    """
    key = (*_words(purpose), round, *_words(client))
    return np.random.Generator(np.random.PCG64(np.random.SeedSequence(seed, spawn_key=key)))
