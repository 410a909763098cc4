"""Training and held-out examples of a configuration, by client."""

import hashlib
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np

from hashfed.data.client_texts import Group, Key, full_name
from hashfed.errors import HashfedError, HashfedWarning
from hashfed.tasks.federated_data import Client
from hashfed.tasks.label_sets import LabelSets
from hashfed.tasks.labels.names import LabelNames
from hashfed.tasks.labels.partition import dirichlet_partition
from hashfed.tasks.labels.propensities import inverse_propensities
from hashfed.tasks.labels.settings import LabelFileSettings
from hashfed.tasks.labels.text_files import read_values
from hashfed.tasks.labels.values import feature_documents, tf_idf
from hashfed.tasks.labels.xc_format import LabelFile, read_label_file

HELD_OUT = "all"
"""The name of the one client that has the examples that are only evaluated on: ``test/all``."""
BLOCK, PARTS = 16, 10
"""Of so many neighbouring lines one tenth of the blocks is for validation."""


@dataclass(frozen=True)
class LabelClient:
    """One client's examples, with values as in the file.

    Attributes:
        name: of the client.
        examples: all that it has.
        group: what it is for.

    """

    name: str
    examples: LabelSets
    group: Group

    @property
    def key(self) -> Key:
        """What tells it from other clients."""
        return self.group, self.name


@dataclass(frozen=True)
class LabelData:
    """What the files of a configuration hold.

    Attributes:
        file: of the training examples.
        training: those that are trained on, by client.
        held_out: those that are evaluated on.

    """

    file: LabelFile
    training: list[LabelClient]
    held_out: LabelClient


def read_label_data(
    settings: LabelFileSettings, source: str, setting: str, held_out: Literal["validation", "test"]
) -> LabelData:
    """Read all that the settings name.

    Args:
        settings: of the data.
        source: of the training examples, in place of theirs.
        setting: what messages call it.
        held_out: what is evaluated on: all examples of ``data.test``; or a tenth of the training examples,
            which are then not trained on.

    Raises:
        HashfedError: where a file cannot be read, files do not fit together, or nothing is left to train on.

    """
    file = read_label_file(Path(source), setting, settings.counted)
    examples = file.examples
    usable = (examples.label_counts > 0) & (examples.feature_counts > 0)
    _tell_left_out(examples, f"{setting} = {source}")
    kept = np.flatnonzero(usable)
    if not len(kept):
        raise HashfedError(f"{setting} = {source}: no example has both a label and a feature")
    owners = _owners(settings, examples, kept)
    validation = for_validation(len(examples))[kept]
    if held_out == "validation":
        alone = examples.take(kept[validation])
        trained = ~validation
    else:
        alone, trained = _read_test(settings, file), np.ones(len(kept), bool)
    if not trained.any() or not len(alone):
        raise HashfedError(
            f"{setting} = {source}: {len(kept):,} examples: too few for both training and validation "
            f"(a tenth of all blocks of {BLOCK} lines)"
        )
    members: dict[str, list[int]] = {}
    for place, owner in zip(
        kept[trained].tolist(), (owners[i] for i in np.flatnonzero(trained)), strict=True
    ):
        members.setdefault(owner, []).append(place)
    training = [
        LabelClient(name, examples.take(np.array(places)), "train")
        for name, places in sorted(members.items())
    ]
    return LabelData(file, training, LabelClient(HELD_OUT, alone, held_out))


def for_validation(count: int) -> np.ndarray:
    """Which of so many examples are for validation, by their lines alone: (count,) bool.

    By blocks of 16 lines, because what is much alike is often neighbours in a file: those whose number's MD5
    has the remainder 0 by 10.
    """
    blocks = [
        int(hashlib.md5(str(block).encode(), usedforsecurity=False).hexdigest(), 16) % PARTS == 0
        for block in range(-(-count // BLOCK))
    ]
    return np.repeat(np.array(blocks, bool), BLOCK)[:count]


def make_names(settings: LabelFileSettings, data: LabelData) -> LabelNames:
    """Names of labels and features, and their counts.

    Raises:
        HashfedError: where a file of names cannot be read, or ``data.labels`` is too small.

    """
    file = data.file
    labels = file.labels if settings.labels is None else settings.labels
    if labels < file.labels:
        raise HashfedError(f"data.labels = {labels}: must be at least {file.labels}, as in {settings.source}")
    trained = join([client.examples for client in data.training])
    return LabelNames(
        labels=_read_names(settings.label_names, file.labels, "data.label_names", "label"),
        features=_read_names(settings.feature_names, file.features, "data.feature_names", "feature"),
        examples=len(file.examples),
        label_counts=tuple(np.bincount(file.examples.labels, minlength=labels).tolist()),
        documents=len(trained),
        feature_documents=tuple(feature_documents(trained, file.features).tolist()),
    )


def encode(
    clients: Sequence[LabelClient], names: LabelNames, settings: LabelFileSettings, where: str
) -> list[tuple[Key, Client | None]]:
    """Clients' examples as a model reads them; None for a client that has nothing to train on.

    Raises:
        HashfedError: where ids are not among those of ``names``.

    """
    gains = inverse_propensities(np.array(names.label_counts), names.examples).astype(np.float32)
    documents = np.array(names.feature_documents)
    found = list[tuple[Key, Client | None]]()
    for client in clients:
        examples = client.examples
        _check(examples.labels, len(gains), f"{where}: labels")
        _check(examples.features, len(documents), f"{where}: features")
        if client.group == "train":
            usable = np.flatnonzero((examples.label_counts > 0) & (examples.feature_counts > 0))
            examples = examples if len(usable) == len(examples) else examples.take(usable)
        else:
            examples = replace(examples, gains=gains[examples.labels])
        if settings.values == "tf-idf":
            examples = tf_idf(examples, documents, names.documents)
        made = Client(full_name(client.key), examples) if len(examples) else None
        found.append((client.key, made))
    return found


def _check(ids: np.ndarray, size: int, where: str) -> None:
    if len(ids) and ids.max() >= size:
        raise HashfedError(f"{where}: {ids.max()}: must be from 0 to {size - 1}, as in the run's data")


def join(parts: Sequence[LabelSets]) -> LabelSets:
    """All of them, in order."""
    return parts[0].join(parts[1:])


def _owners(settings: LabelFileSettings, examples: LabelSets, kept: np.ndarray) -> list[str]:
    """Names of the clients of the examples at ``kept``."""
    if settings.client_ids is not None:
        ids = read_values(Path(settings.client_ids), len(examples), "data.client_ids", "training example")
        return [ids[place] for place in kept]
    if settings.partition_clients > len(kept):
        raise HashfedError(
            f"data.partition_clients = {settings.partition_clients}: must be at most the {len(kept):,} "
            "training examples"
        )
    found = dirichlet_partition(
        examples.take(kept), settings.partition_clients, settings.concentration, settings.partition_seed
    )
    width = len(str(settings.partition_clients - 1))
    return [f"{client:0{width}d}" for client in found]


def _read_test(settings: LabelFileSettings, training: LabelFile) -> LabelSets:
    if settings.test is None:
        raise HashfedError(
            "data.test = None: must be the file of the test examples (or evaluation.clients validation, to "
            "evaluate on a part of the training examples)"
        )
    file = read_label_file(Path(settings.test), "data.test", settings.counted)
    for name, here, there in (
        ("labels", file.labels, training.labels),
        ("features", file.features, training.features),
    ):
        if here > there:
            raise HashfedError(
                f"data.test = {settings.test}, line 1: {name} = {here}: must be at most {there}, as in "
                f"data.source"
            )
    return file.examples


def _read_names(path: str | None, count: int, setting: str, of: str) -> tuple[str, ...] | None:
    return None if path is None else read_values(Path(path), count, setting, of)


def _tell_left_out(examples: LabelSets, where: str) -> None:
    bare, empty = int((examples.label_counts == 0).sum()), int((examples.feature_counts == 0).sum())
    if bare or empty:
        warnings.warn(
            f"{where}: of {len(examples):,} training examples {bare:,} without labels and {empty:,} without "
            "features are left out",
            HashfedWarning,
            stacklevel=2,
        )
