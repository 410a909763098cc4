"""Text to words. ``docs/data.md`` says with examples what a word is."""

import re
import unicodedata
from collections.abc import Callable, Mapping
from typing import Literal

TokenizerName = Literal["unicode", "ascii", "spaces"]
Tokenizer = Callable[[str], list[str]]
"""From a text to its words: no word is empty or holds white space."""

_ASCII_TOKEN = re.compile(r"[a-z0-9]+(?:'[a-z0-9]+)*|[^\sa-z0-9\x00-\x1f\x7f]")
_OLD_TOKEN = re.compile(r"[a-z0-9']+|[^\sa-z0-9]")


def unicode_words(text: str) -> list[str]:
    """Lower-cased words of any script, and every other visible character alone.

    ``Don’t panic, Zoë!`` is ``don't panic , zoë !``, however the text spells its accents (NFC or NFD) and
    apostrophes.
    """
    if text.isascii() and "`" not in text:
        return _ASCII_TOKEN.findall(text.lower())
    # Not at the top: a node meets texts when it joins, and not in the processes of later messages.
    from hashfed.data.unicode_patterns import APOSTROPHE, INVISIBLE, MAYBE_INVISIBLE, TOKEN

    text = unicodedata.normalize("NFC", text)
    if MAYBE_INVISIBLE.search(text):  # much faster than the exact look
        text = INVISIBLE.sub("", text)
    text = APOSTROPHE.sub("'", text)
    # Python's "İ".lower() has a dot too many, and lower-casing may leave accents that compose.
    text = unicodedata.normalize("NFC", text.replace("İ", "i").lower())
    return (_ASCII_TOKEN if text.isascii() else TOKEN).findall(text)


def ascii_words(text: str) -> list[str]:
    """Lower-cased words of ASCII letters, digits and ``'``, and every other visible character alone."""
    return _OLD_TOKEN.findall(text.lower())


def space_words(text: str) -> list[str]:
    """What is between white space, as it is: of texts that are cut into words already."""
    return text.split()


TOKENIZERS: Mapping[TokenizerName, Tokenizer] = {
    "unicode": unicode_words,
    "ascii": ascii_words,
    "spaces": space_words,
}
"""Tokenizers by their name in ``data.tokenizer``."""
