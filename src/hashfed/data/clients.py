"""A federated text data set: clients with sentences, split into training and held-out clients."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from hashfed.data.client_texts import ClientTexts
from hashfed.data.readers import merge_clients
from hashfed.data.sentences import Sentences, cap_texts, cut_text, encode_sentences
from hashfed.data.tokenizer import TOKENIZERS, TokenizerName
from hashfed.data.vocabulary import PAD, Vocabulary
from hashfed.errors import HashfedError

Group = Literal["train", "validation", "test"]


@dataclass(frozen=True)
class Client:
    """One client's name and data."""

    name: str
    sentences: Sentences


@dataclass(frozen=True)
class FederatedText:
    """Clients to train on and clients to evaluate on, with the vocabulary of the former.

    Attributes:
        vocabulary: from the training (and validation) clients.
        train: clients that may be drawn into a cohort.
        held_out: clients that are only evaluated on.
        label_counts: (n,) int64: how often each row is a label among ``train``; the public frequency.

    """

    vocabulary: Vocabulary
    train: tuple[Client, ...]
    held_out: tuple[Client, ...]
    label_counts: np.ndarray


def group_of(client: str) -> Group:
    """The fixed split by name: one client in five is a test client, another a validation client."""
    remainder = int(hashlib.md5(client.encode(), usedforsecurity=False).hexdigest(), 16) % 5
    return "test" if remainder == 0 else "validation" if remainder == 1 else "train"


def build_federated_text(
    clients: Sequence[ClientTexts],
    vocabulary_size: int,
    sentence_length: int = 20,
    tokens_per_client: int = 5000,
    split_texts: bool = False,
    held_out: Literal["validation", "test"] = "test",
    vocabulary: Vocabulary | None = None,
    tokenizer: TokenizerName = "unicode",
) -> FederatedText:
    """Tokenize, cap, split by client, build the vocabulary and encode.

    Args:
        clients: what a reader gave; those of one name are one client.
        vocabulary_size: V.
        sentence_length: words per sentence.
        tokens_per_client: the most words kept of one client: whole texts, in order.
        split_texts: cut longer texts into several sentences instead of keeping their beginning.
        held_out: ``test`` trains on all other clients; ``validation`` leaves the test clients unseen
            and evaluates on validation clients, for choosing settings.
        vocabulary: use this one instead of building it.
        tokenizer: what a word is.

    Raises:
        HashfedError: where a side of the split has no client, or the vocabulary exceeds the data.

    """
    clients, words_of = merge_clients(clients), TOKENIZERS[tokenizer]
    texts = {item.client: list(cap_texts(map(words_of, item.texts), tokens_per_client)) for item in clients}
    if vocabulary is None:
        known = (words for name in texts if group_of(name) != "test" for words in texts[name])
        vocabulary = Vocabulary.most_frequent(known, vocabulary_size)
    sides: dict[bool, list[Client]] = {False: [], True: []}
    for name in sorted(texts):
        group = group_of(name)
        if group == "test" and held_out == "validation":
            continue
        client = _encode(name, texts[name], vocabulary, sentence_length, split_texts)
        if client is not None:
            sides[group == held_out].append(client)
    for side, name in ((False, "training"), (True, held_out)):
        if not sides[side]:
            raise HashfedError(
                f"data.source: of {len(clients)} clients none is a {name} client (split by md5 of the name)"
            )
    train, evaluated = tuple(sides[False]), tuple(sides[True])
    return FederatedText(vocabulary, train, evaluated, label_counts(train, len(vocabulary)))


def encode_client(
    client: ClientTexts,
    vocabulary: Vocabulary,
    sentence_length: int = 20,
    tokens_per_client: int = 5000,
    split_texts: bool = False,
    tokenizer: TokenizerName = "unicode",
) -> Client | None:
    """One client alone, with a vocabulary from elsewhere; None where it has no word.

    The numbers are those of ``build_federated_text``.
    """
    words = list(cap_texts(map(TOKENIZERS[tokenizer], client.texts), tokens_per_client))
    return _encode(client.client, words, vocabulary, sentence_length, split_texts)


def _encode(
    name: str, texts: Sequence[Sequence[str]], vocabulary: Vocabulary, length: int, split: bool
) -> Client | None:
    sentences = [cut for words in texts for cut in cut_text(words, length, split)]
    return Client(name, encode_sentences(sentences, vocabulary, length)) if sentences else None


def label_counts(clients: Sequence[Client], size: int) -> np.ndarray:
    """How often each of ``size`` rows is a target, padding left out: (size,) int64."""
    counts = np.zeros(size, np.int64)
    for client in clients:
        counts += np.bincount(client.sentences.targets.ravel(), minlength=size)
    counts[PAD] = 0
    return counts
