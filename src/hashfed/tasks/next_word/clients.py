"""A federated text data set: clients with sentences, split into training and held-out clients."""

from collections.abc import Sequence
from typing import Literal

import numpy as np

from hashfed.data.client_texts import ClientTexts, full_name
from hashfed.data.part import choose
from hashfed.data.readers import merge_clients
from hashfed.data.tokenizer import TOKENIZERS, TokenizerName
from hashfed.errors import HashfedError
from hashfed.tasks.federated_data import Client, FederatedData
from hashfed.tasks.next_word.sentences import cap_sentences, cap_texts, cut_text, encode_sentences
from hashfed.tasks.next_word.vocabulary import PAD, Vocabulary


def build_federated_text(
    clients: Sequence[ClientTexts],
    vocabulary_size: int,
    sentence_length: int = 20,
    tokens_per_client: int = 5000,
    split_texts: bool = False,
    held_out: Literal["validation", "test"] = "test",
    vocabulary: Vocabulary | None = None,
    tokenizer: TokenizerName = "unicode",
    sentences_per_client: int | None = None,
    train_clients: int | None = None,
    held_out_clients: int | None = None,
) -> FederatedData[Vocabulary]:
    """Tokenize, cap, split by client, build the vocabulary and encode.

    Args:
        clients: what a reader gave; those of one name are one client.
        vocabulary_size: V.
        sentence_length: words per sentence.
        tokens_per_client: the most words kept of one client: whole texts, in order.
        split_texts: cut longer texts into several sentences instead of keeping their beginning.
        held_out: ``test`` trains on all other clients; ``validation`` leaves the test clients unseen
            and evaluates on validation clients, for choosing settings. Clients whose group is stated keep
            to it: only those of ``train`` are trained on.
        vocabulary: use this one instead of building it.
        tokenizer: what a word is.
        sentences_per_client: the most sentences kept of one client: the first.
        train_clients: the most clients that train, chosen by their names (``part.choose``).
        held_out_clients: the most that are evaluated on.

    Raises:
        HashfedError: where a side of the split has no client, or the vocabulary exceeds the data.

    """
    clients = merge_clients(clients)
    chosen = choose([item.key for item in clients], held_out, train_clients, held_out_clients)
    _check_side(clients, len(chosen.train), "training")
    _check_side(clients, len(chosen.held_out), held_out)
    wanted = chosen.train | chosen.held_out | (chosen.vocabulary if vocabulary is None else frozenset())
    texts = {
        item.key: _words(
            item, tokens_per_client, sentences_per_client, sentence_length, split_texts, tokenizer
        )
        for item in clients
        if item.key in wanted
    }
    if vocabulary is None:
        known = (words for key in texts if key in chosen.vocabulary for words in texts[key])
        vocabulary = Vocabulary.most_frequent(known, vocabulary_size)
    sides: dict[bool, list[Client]] = {False: [], True: []}
    for key in sorted(texts, key=full_name):
        if key not in chosen.train and key not in chosen.held_out:
            continue
        client = _encode(full_name(key), texts[key], vocabulary, sentence_length, split_texts)
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


def encode_client(
    client: ClientTexts,
    vocabulary: Vocabulary,
    sentence_length: int = 20,
    tokens_per_client: int = 5000,
    split_texts: bool = False,
    tokenizer: TokenizerName = "unicode",
    sentences_per_client: int | None = None,
) -> Client | None:
    """One client alone, with a vocabulary from elsewhere; None where it has no word.

    The numbers are those of ``build_federated_text``.
    """
    words = _words(client, tokens_per_client, sentences_per_client, sentence_length, split_texts, tokenizer)
    return _encode(full_name(client.key), words, vocabulary, sentence_length, split_texts)


def _words(
    client: ClientTexts, tokens: int, sentences: int | None, length: int, split: bool, name: TokenizerName
) -> list[Sequence[str]]:
    """The words of the texts that are kept of a client."""
    texts = cap_texts(map(TOKENIZERS[name], client.texts), tokens)
    return list(texts if sentences is None else cap_sentences(texts, sentences, length, split))


def _encode(
    name: str, texts: Sequence[Sequence[str]], vocabulary: Vocabulary, length: int, split: bool
) -> Client | None:
    sentences = [cut for words in texts for cut in cut_text(words, length, split)]
    return Client(name, encode_sentences(sentences, vocabulary, length)) if sentences else None


def label_counts(clients: Sequence[Client], size: int) -> np.ndarray:
    """How often each of ``size`` rows is a target, padding left out: (size,) int64."""
    counts = np.zeros(size, np.int64)
    for client in clients:
        counts += np.bincount(client.examples.columns()["targets"].ravel(), minlength=size)
    counts[PAD] = 0
    return counts
