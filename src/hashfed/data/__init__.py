"""Texts of clients, from whatever files they are in."""

from hashfed.data.client_texts import ClientTexts
from hashfed.data.part import Part, group_of
from hashfed.data.readers import merge_clients, read_texts
from hashfed.data.streams import stream_texts

__all__ = ["ClientTexts", "Part", "group_of", "merge_clients", "read_texts", "stream_texts"]
