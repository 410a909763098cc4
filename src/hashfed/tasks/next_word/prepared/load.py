"""A prepared folder as the data of a run, or of a node."""

import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from hashfed.data.client_texts import Group, Key
from hashfed.display import printable, shown
from hashfed.errors import HashfedError
from hashfed.tasks.federated_data import Client, FederatedData, Measured
from hashfed.tasks.next_word.prepared.layout import HELD_OUT, TRAIN, MappedClients, Role, Store
from hashfed.tasks.next_word.prepared.manifest import (
    FIXED,
    NAME,
    OF_SOURCES,
    VOCABULARY,
    Manifest,
    Side,
    check_columns,
    read_manifest,
)
from hashfed.tasks.next_word.settings import TextSettings
from hashfed.tasks.next_word.vocabulary import Vocabulary


def load_prepared(settings: TextSettings, held_out: Side) -> FederatedData[Vocabulary]:
    """The clients of the folder ``settings.source``; nothing of their texts is read.

    Raises:
        HashfedError: where the folder is damaged, was prepared with other settings, or has nobody to train or
            to evaluate on.

    """
    folder = Path(settings.source)
    manifest = read_manifest(folder)
    check_settings(settings, manifest)
    check_columns(folder, manifest)
    if held_out not in manifest.facts:
        raise HashfedError(manifest.problems.get(held_out, f"{folder / NAME}: has no facts of {held_out}"))
    vocabulary, store = read_vocabulary(folder, manifest), Store(folder, settings.sentence_length)
    train, evaluated = store.clients(TRAIN[held_out]), store.clients(HELD_OUT[held_out])
    counts = np.asarray(store.column(f"counts-{held_out}"))
    facts = manifest.facts[held_out]
    known = Measured(facts.sizes, facts.own_rows, facts.floors, facts.sha256)
    return FederatedData(vocabulary, train, evaluated, counts, known)


@dataclass(frozen=True)
class PreparedClient:
    """A client of a folder, for a node.

    Attributes:
        key: what tells it from others.
        client: itself, with ids of the folder's words.
        words: these.
        where: the folder, for messages.

    """

    key: Key
    client: Client
    words: Vocabulary
    where: str

    def known(self, names: Vocabulary) -> Client:
        """The client in a run with the words ``names``.

        Raises:
            HashfedError: where these are others.

        """
        if names.words != self.words.words:
            raise HashfedError(
                f"{self.where}: prepared with other words than those of this run; give the texts "
                "themselves, or prepare them with data.word_counts"
            )
        return self.client


def read_prepared(
    source: str, setting: str, settings: TextSettings, held_out: Side | None, client: str | None
) -> list[PreparedClient]:
    """Clients of a folder that a node has.

    Args:
        source: the folder.
        setting: what messages call it.
        settings: of the run.
        held_out: which clients are evaluated on; None: all are the node's own.
        client: all is to be of this one client, which is refused; None: each is itself.

    Raises:
        HashfedError: where the folder is damaged or was prepared with other settings, or its clients
            are to be one.

    """
    folder, where = Path(source), f"{setting} = {printable(source)}"
    manifest = read_manifest(folder, setting)
    if client is not None:
        raise HashfedError(
            f"{where}: holds {manifest.clients:,} clients, each with as many words as one may have; for all "
            f"to be those of one, {printable(client)}, give the texts themselves"
        )
    check_settings(settings.model_copy(update=dict.fromkeys(OF_SOURCES)), manifest, where)
    check_columns(folder, manifest)
    words, store = read_vocabulary(folder, manifest), Store(folder, settings.sentence_length)
    roles = store.column("roles")
    if held_out is None:
        numbers = np.arange(len(store))
    else:
        numbers = np.flatnonzero(roles & np.uint8(TRAIN[held_out] | HELD_OUT[held_out]))
    every = MappedClients(store, numbers.astype(np.int32))
    some = zip(every, roles[numbers].tolist(), strict=True)
    return [PreparedClient(_key(one.name, role, manifest.stated), one, words, where) for one, role in some]


def _key(name: str, role: int, stated: bool) -> Key:
    """Of a client with this full name: what the name begins with is no group where the role is another."""
    if not stated:
        return None, name
    groups: dict[Role, Group] = {Role.VALIDATION: "validation", Role.TEST: "test"}
    group = next((group for of, group in groups.items() if role & of), None)
    return ("train", name) if group is None else (group, name.removeprefix(f"{group}/"))


def check_settings(settings: TextSettings, manifest: Manifest, setting: str = "data.source") -> None:
    """That a run's settings are those of the folder.

    Raises:
        HashfedError: naming the first that is not.

    """
    for name in OF_SOURCES:
        value = getattr(settings, name)
        if value is not None:
            problem = "has no effect with a prepared folder; leave it out, or give none"
            raise HashfedError(f"data.{name} = {_said(value)}: {problem}")
    for name in FIXED:
        value, there = getattr(settings, name), manifest.settings[name]
        if value != there:
            raise HashfedError(
                f"data.{name} = {_said(value)}: {setting} was prepared with {_said(there)}; leave it out, or "
                "prepare the data anew (hashfed data prepare)"
            )


def read_vocabulary(folder: Path, manifest: Manifest) -> Vocabulary:
    """The words.

    Raises:
        HashfedError: where the file is not what was written.

    """
    path = folder / VOCABULARY
    try:
        data = path.read_bytes()
    except OSError as error:
        raise HashfedError(f"{path}: {error.strerror or error}") from None
    if hashlib.sha256(data).hexdigest() != manifest.vocabulary_sha256:
        raise HashfedError(f"{path}: damaged (another checksum than when it was prepared)")
    return Vocabulary.from_json(data.decode())


def _said(value: int | str | None) -> str:
    return "none" if value is None else printable(value) if isinstance(value, str) else shown(value)
