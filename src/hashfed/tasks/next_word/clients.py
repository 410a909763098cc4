"""A federated text data set: clients with sentences, split into training and held-out clients."""

from collections.abc import Sequence
from typing import Literal

import numpy as np

from hashfed.data.client_texts import ClientTexts, full_name
from hashfed.data.part import choose
from hashfed.data.readers import merge_clients
from hashfed.data.tokenizer import TOKENIZERS
from hashfed.errors import HashfedError
from hashfed.tasks.federated_data import Client, FederatedData
from hashfed.tasks.next_word.sentences import cap_sentences, cap_texts, cut_text, encode_sentences
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
    _check_side(clients, len(chosen.train), "training")
    _check_side(clients, len(chosen.held_out), held_out)
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
    _check_side(clients, len(train), "training")
    _check_side(clients, len(evaluated), held_out)
    return FederatedData(vocabulary, train, evaluated, label_counts(train, len(vocabulary)))


def _check_side(clients: Sequence[ClientTexts], count: int, name: str) -> None:
    if not count:
        by = "as the source states" if clients and clients[0].group else "split by md5 of the name"
        raise HashfedError(f"data.source: of {len(clients)} clients none is a {name} client ({by})")


def encode_client(client: ClientTexts, vocabulary: Vocabulary, settings: TextSettings) -> Client | None:
    """One client alone, with a vocabulary from elsewhere; None where it has no word.

    The numbers are those of ``build_federated_text``.
    """
    return _encode(full_name(client.key), _words(client, settings), vocabulary, settings)


def _words(client: ClientTexts, settings: TextSettings) -> list[Sequence[str]]:
    """The words of the texts that are kept of a client."""
    texts = cap_texts(map(TOKENIZERS[settings.tokenizer], client.texts), settings.tokens_per_client)
    most = settings.sentences_per_client
    return list(
        texts if most is None else cap_sentences(texts, most, settings.sentence_length, settings.splits)
    )


def _encode(
    name: str, texts: Sequence[Sequence[str]], vocabulary: Vocabulary, settings: TextSettings
) -> Client | None:
    length = settings.sentence_length
    sentences = [cut for words in texts for cut in cut_text(words, length, settings.splits)]
    return Client(name, encode_sentences(sentences, vocabulary, length)) if sentences else None


def label_counts(clients: Sequence[Client], size: int) -> np.ndarray:
    """How often each of ``size`` rows is a target, padding left out: (size,) int64."""
    counts = np.zeros(size, np.int64)
    for client in clients:
        counts += np.bincount(client.examples.columns()["targets"].ravel(), minlength=size)
    counts[PAD] = 0
    return counts
