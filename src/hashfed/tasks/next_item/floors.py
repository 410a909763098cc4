"""What counting achieves on the held-out clients: popular items, and successors of the last item."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from hashfed.errors import HashfedError
from hashfed.tasks.examples import ranges
from hashfed.tasks.federated_data import Client, FederatedData
from hashfed.tasks.next_item.catalogue import FIRST, Catalogue
from hashfed.tasks.next_item.histories import Histories
from hashfed.tasks.next_item.presentation import MARKOV, POPULAR
from hashfed.tasks.next_item.ranking import expected


def measure_floors(data: FederatedData[Catalogue], cutoffs: tuple[int, ...]) -> dict[str, Any]:
    """Metrics of both, ``targets``, and ``unreachable_rate``: held-out items that are never in training.

    Popular: by the number of times in the training examples. Markov: by how often an item came next after the
    last one there; where that is equal, as for all that never did, by popularity. What is equal in both is
    tied.

    Raises:
        HashfedError: where nothing is held out.

    """
    if not data.held_out:
        raise HashfedError("data.source: no user has an item to evaluate on")
    first, *others = (client.examples for client in data.held_out)
    held = first.join(others)
    if not isinstance(held, Histories):
        raise TypeError(type(held))
    counts, pairs = _counted(data.train, data.size)
    targets = held.targets.astype(np.int64)
    last = held.items[np.cumsum(held.counts) - 1].astype(np.int64)
    seen = _codes(np.repeat(np.arange(len(held)), held.counts), held.items, data.size)
    seen = np.setdiff1d(seen, _codes(np.arange(len(held)), targets, data.size))
    return {
        **_named(POPULAR, expected(*_popular(counts, targets, seen), cutoffs)),
        **_named(MARKOV, expected(*_markov(counts, pairs, targets, last, seen), cutoffs)),
        "targets": len(held),
        "unreachable_rate": float(np.mean(counts[targets] == 0)),
    }


def _named(floor: str, found: dict[str, np.ndarray]) -> dict[str, float]:
    return {f"{floor}_{name}": float(values.mean()) for name, values in found.items()}


def _codes(owners: np.ndarray, items: np.ndarray, size: int) -> np.ndarray:
    """Pairs as one number each."""
    return np.asarray(owners.astype(np.int64) * size + items)


def _counted(clients: Sequence[Client], size: int) -> tuple[np.ndarray, tuple[np.ndarray, np.ndarray]]:
    """(n,) how often each item is there; codes of pairs, ascending, with how often one follows the other."""
    columns = [client.examples.columns() for client in clients]
    before, after = (np.concatenate([one[name].ravel() for one in columns]) for name in ("inputs", "targets"))
    starts = np.concatenate([one["inputs"][:, 0] for one in columns])
    counts = np.bincount(np.concatenate([starts, after]), minlength=size)
    counts[:FIRST] = 0
    codes, times = np.unique(_codes(before, after, size), return_counts=True)
    return counts, (codes, times)


def _popular(counts: np.ndarray, targets: np.ndarray, left_out: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """How many items are more popular than each target, and as popular; but for the pairs ``left_out``."""
    ranked = np.sort(counts[FIRST:])
    own = counts[targets]
    above = len(ranked) - np.searchsorted(ranked, own, side="right")
    tied = np.searchsorted(ranked, own, side="right") - np.searchsorted(ranked, own, side="left") - 1
    owners, items = np.divmod(left_out, len(counts))
    gone = counts[items] - own[owners]
    size = len(targets)
    return above - np.bincount(owners[gone > 0], minlength=size), tied - np.bincount(
        owners[gone == 0], minlength=size
    )


def _markov(
    counts: np.ndarray,
    pairs: tuple[np.ndarray, np.ndarray],
    targets: np.ndarray,
    last: np.ndarray,
    seen: np.ndarray,
) -> tuple[np.ndarray, np.ndarray]:
    """How many items stand before each target, and beside it."""
    codes, times = pairs
    size = len(counts)
    fan = np.bincount(codes // size, minlength=size)
    at = ranges(fan, last)
    owners = np.repeat(np.arange(len(targets)), fan[last])
    items = codes[at] % size
    mine = items == targets[owners]
    followed = np.zeros(len(targets), np.int64)
    followed[owners[mine]] = times[at][mine]
    # A successor's score beside any other's: the times that it followed, then how popular it is.
    score = times[at] * (counts.max() + 1) + counts[items]
    own = followed * (counts.max() + 1) + counts[targets]
    rival = ~mine & ~np.isin(_codes(owners, items, size), seen)
    ahead = np.bincount(owners[rival & (score > own[owners])], minlength=len(targets))
    beside = np.bincount(owners[rival & (score == own[owners])], minlength=len(targets))
    # Items that never followed stand before and beside targets that never did.
    no_rest = np.union1d(seen, _codes(owners[~mine], items[~mine], size))
    above, tied = _popular(counts, targets, no_rest)
    never = followed == 0
    return ahead + np.where(never, above, 0), beside + np.where(never, tied, 0)
