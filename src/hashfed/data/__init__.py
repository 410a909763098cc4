"""Federated text: readers, tokenizer, vocabulary and clients."""

from hashfed.data.client_texts import ClientTexts
from hashfed.data.clients import Client, FederatedText, build_federated_text, encode_client
from hashfed.data.floors import Floors, measure_floors
from hashfed.data.part import Part, group_of
from hashfed.data.readers import merge_clients, read_texts
from hashfed.data.vocabulary import BOS, EOS, OOV, PAD, SPECIAL, Vocabulary
from hashfed.data.word_counts import read_word_counts

__all__ = [
    "BOS",
    "EOS",
    "OOV",
    "PAD",
    "SPECIAL",
    "Client",
    "ClientTexts",
    "FederatedText",
    "Floors",
    "Part",
    "Vocabulary",
    "build_federated_text",
    "encode_client",
    "group_of",
    "measure_floors",
    "merge_clients",
    "read_texts",
    "read_word_counts",
]
