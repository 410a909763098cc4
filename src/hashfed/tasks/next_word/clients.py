"""A federated text data set: clients with sentences, split into training and held-out clients."""

from collections.abc import Sequence, Sized
from typing import Literal

import numpy as np

from hashfed.data.client_texts import ClientTexts, full_name
from hashfed.data.part import choose
from hashfed.data.readers import merge_clients
from hashfed.data.tokenizer import TOKENIZERS
from hashfed.tasks.federated_data import Client, EmptySideError, FederatedData, blocks
from hashfed.tasks.next_word.sentences import cut_text, encode_sentences
from hashfed.tasks.next_word.settings import TextSettings
from hashfed.tasks.next_word.vocabulary import PAD, Vocabulary


def build_federated_text(
    clients: Sequence[ClientTexts],
    settings: TextSettings,
    held_out: Literal["validation", "test"] = "test",
    vocabulary: Vocabulary | None = None,
) -> FederatedData[Vocabulary]:
    """Tokenize, cap, split by client, build the vocabulary and encode.

    Args:
        clients: what a reader gave; those of one name are one client.
        settings: of the data; whatever their source.
        held_out: ``test`` trains on all other clients; ``validation`` leaves the test clients unseen
            and evaluates on validation clients, for choosing settings. Clients whose group is stated keep
            to it: only those of ``train`` are trained on.
        vocabulary: use this one instead of building it.

    Raises:
        HashfedError: where a side of the split has no client, or the vocabulary exceeds the data.

    """
    clients, part = merge_clients(clients), settings.part(vocabulary is None, held_out)
    chosen = choose([item.key for item in clients], held_out, part.clients, part.held_out_clients)
    stated = bool(clients) and clients[0].group is not None
    check_sides(len(clients), chosen.train, chosen.held_out, held_out, stated)
    wanted = chosen.train | chosen.held_out | (chosen.vocabulary if vocabulary is None else frozenset())
    texts = {item.key: _words(item, settings) for item in clients if item.key in wanted}
    if vocabulary is None:
        known = (words for key in texts if key in chosen.vocabulary for words in texts[key])
        vocabulary = Vocabulary.most_frequent(known, settings.vocabulary)
    sides: dict[bool, list[Client]] = {False: [], True: []}
    for key in sorted(texts, key=full_name):
        if key not in chosen.train and key not in chosen.held_out:
            continue
        client = _encode(full_name(key), texts[key], vocabulary, settings)
        if client is not None:
            sides[key in chosen.held_out].append(client)
    train, evaluated = tuple(sides[False]), tuple(sides[True])
    check_sides(len(clients), train, evaluated, held_out, stated)
    return FederatedData(vocabulary, train, evaluated, label_counts(train, len(vocabulary)))


def check_sides(clients: int, train: Sized, held_out: Sized, side: str, stated: bool) -> None:
    """That somebody trains, and somebody is evaluated on.

    Args:
        clients: of the source.
        train: who trains.
        held_out: who is evaluated on.
        side: what these are called.
        stated: whether the source says who is for what.

    Raises:
        EmptySideError: where nobody does.

    """
    for name, some in (("training", train), (side, held_out)):
        if not len(some):
            by = "as the source states" if stated else "split by md5 of the name"
            raise EmptySideError(f"data.source: of {clients} clients none is a {name} client ({by})")


def encode_client(client: ClientTexts, vocabulary: Vocabulary, settings: TextSettings) -> Client | None:
    """One client alone, with a vocabulary from elsewhere; None where it has no word.

    The numbers are those of ``build_federated_text``.
    """
    return _encode(full_name(client.key), _words(client, settings), vocabulary, settings)


def _words(client: ClientTexts, settings: TextSettings) -> list[Sequence[str]]:
    """The words of the texts that are kept of a client."""
    return list(settings.kept().of(map(TOKENIZERS[settings.tokenizer], client.texts)))


def _encode(
    name: str, texts: Sequence[Sequence[str]], vocabulary: Vocabulary, settings: TextSettings
) -> Client | None:
    length = settings.sentence_length
    sentences = [cut for words in texts for cut in cut_text(words, length, settings.splits)]
    return Client(name, encode_sentences(sentences, vocabulary, length)) if sentences else None


def label_counts(clients: Sequence[Client], size: int) -> np.ndarray:
    """How often each of ``size`` rows is a target, padding left out: (size,) int64."""
    counts = np.zeros(size, np.int64)
    for examples in blocks(clients):
        counts += np.bincount(examples.columns()["targets"].ravel(), minlength=size)
    counts[PAD] = 0
    return counts
