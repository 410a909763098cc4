"""Users as clients: what each is trained on and evaluated on."""

import hashlib
import heapq
from collections.abc import Iterator, Sequence
from typing import Literal

import numpy as np

from hashfed.data.client_texts import Group, Key, full_name
from hashfed.errors import HashfedError
from hashfed.models.protocol import OUTPUT
from hashfed.tasks.federated_data import Client, FederatedData
from hashfed.tasks.next_item.catalogue import Catalogue
from hashfed.tasks.next_item.histories import Histories
from hashfed.tasks.next_item.log import History
from hashfed.tasks.next_item.settings import ItemSettings
from hashfed.tasks.next_item.split import parts_of, time_cuts
from hashfed.tasks.sequences import PAD, Sequences


def build_data(
    histories: Sequence[History], settings: ItemSettings, held_out: Literal["validation", "test"]
) -> FederatedData[Catalogue]:
    """All users of a source, or as many as are asked for.

    A user is two clients: one that is trained on, and one that is evaluated on (``test/NAME``), whose history
    is all that came before its target.

    Raises:
        HashfedError: where there are no times to split by, too few items, or a side has no client.

    """
    names = make_catalogue(histories, settings)
    most = settings.clients
    if most is not None:
        histories = heapq.nsmallest(
            most, histories, key=lambda one: hashlib.sha256(one.user.encode()).digest()
        )
    sides: dict[str, list[Client]] = {"train": [], held_out: []}
    for (group, _), client in encode(sorted(histories, key=lambda one: one.user), names, settings):
        if client is not None and group is not None and group in sides:
            sides[group].append(client)
    for side, clients in sides.items():
        if not clients:
            of = "training" if side == "train" else side
            raise HashfedError(
                f"data.source: of {len(histories):,} users none is a {of} client "
                f"(data.split = {settings.split})"
            )
    train = tuple(sides["train"])
    counts = np.zeros(names.sizes[OUTPUT], np.int64)
    for client in train:
        np.add.at(counts, client.examples.columns()["targets"].ravel(), 1)
    return FederatedData(names, train, tuple(sides[held_out]), counts)


def make_catalogue(histories: Sequence[History], settings: ItemSettings) -> Catalogue:
    """The items that have a row, all or the most frequent in training, and where time is split.

    Raises:
        HashfedError: see ``build_data``.

    """
    cuts = time_cuts(histories, settings.held_out_share) if settings.split == "time" else None
    every = histories[0].names
    facts = {"users in the source": len(histories), "interactions": sum(len(one.items) for one in histories)}
    if settings.items is None:
        return Catalogue.of(every, cuts, facts)
    counts = np.zeros(len(every), np.int64)
    for history in histories:
        np.add.at(counts, history.items[: parts_of(history, cuts).train], 1)
    if settings.items > (there := int(np.count_nonzero(counts))):
        raise HashfedError(f"data.items = {settings.items}: only {there:,} items are in training")
    ranked = sorted(range(len(every)), key=lambda item: (-counts[item], every[item]))
    return Catalogue.of((every[item] for item in ranked[: settings.items]), cuts, facts)


def encode(
    histories: Sequence[History], names: Catalogue, settings: ItemSettings
) -> Iterator[tuple[Key, Client | None]]:
    """The clients of users, for training, validation and test; None of one that has nothing to predict.

    Items without a row are left out, as if nobody had had them.

    Args:
        histories: of one source.
        names: the items that have a row.
        settings: of the data.

    Raises:
        HashfedError: where there are no times to split by.

    """
    places = names.places(histories[0].names) if histories else np.empty(0, np.int32)
    for history in histories:
        rows = places[history.items]
        known = rows != PAD
        times = None if history.times is None else history.times[known]
        rows = rows[known]
        parts = parts_of(History(history.user, rows, times, ()), names.cuts)
        train = rows[: parts.train][-settings.length - 1 :]
        made = None
        if len(train) > 1:
            made = Client(history.user, Sequences(train[None, :-1].copy(), train[None, 1:].copy()))
        yield ("train", history.user), made
        held_out: dict[Group, int] = {"validation": parts.validation, "test": parts.test}
        for group, before in held_out.items():
            key: Key = (group, history.user)
            yield key, _held_out(full_name(key), rows, before, settings.length) if before else None


def _held_out(name: str, rows: np.ndarray, before: int, length: int) -> Client:
    """A user whose item after the first ``before`` is to be found."""
    count = np.array([before])
    return Client(name, Histories(rows[:before], count, np.minimum(count, length), rows[before : before + 1]))
