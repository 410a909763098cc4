"""Examples divided among clients that differ in their labels (Hsu, Qi and Brown 2019)."""

import numpy as np

from hashfed.randomness import stream
from hashfed.tasks.label_sets import LabelSets


def dirichlet_partition(examples: LabelSets, clients: int, concentration: float, seed: int) -> np.ndarray:
    """The client of each example.

    Each client has its own shares of the labels, drawn from a Dirichlet distribution around those of the
    data, and as many examples as any other (±1), drawn one by one by these shares without replacement. An
    example counts as one of just one of its labels, drawn evenly.

    Args:
        examples: each with a label.
        clients: how many; at most as many as examples.
        concentration: α of Dir(α·p), > 0: the smaller, the fewer labels a client has.
        seed: of all draws.

    Returns:
        (s,) int64 from 0 to ``clients`` - 1.

    """
    rng = stream(seed, "partition")
    starts = np.cumsum(examples.label_counts) - examples.label_counts
    drawn = examples.labels[starts + rng.integers(0, examples.label_counts)]
    labels, kinds, left = np.unique(drawn, return_inverse=True, return_counts=True)
    shuffled = rng.permutation(len(examples))
    by_kind = shuffled[np.argsort(kinds[shuffled], kind="stable")]
    nexts = np.cumsum(left) - left
    prior, found = left / left.sum(), np.empty(len(examples), np.int64)
    for client in range(clients):
        size = (len(examples) - client + clients - 1) // clients
        shares = rng.dirichlet(concentration * prior) if len(labels) > 1 else np.ones(1)
        taken = _drawn(size, shares, left, rng)
        for kind in np.flatnonzero(taken):
            found[by_kind[nexts[kind] : nexts[kind] + taken[kind]]] = client
        nexts += taken
        left = left - taken
    return found


def _drawn(size: int, shares: np.ndarray, left: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """How many of each kind are drawn of those left; a draw of a kind that is used up is repeated."""
    taken = np.zeros_like(left)
    while (missing := size - int(taken.sum())) > 0:
        there = np.where(taken < left, shares, 0)
        if not there.sum() > 0:  # a client with shares only of what is used up
            there = (left - taken).astype(np.float64)
        taken = np.minimum(left, taken + rng.multinomial(missing, there / there.sum()))
    return taken
