"""What a word of any script is made of (docs/data.md)."""

import re

import regex

_PICTOGRAPH = r"\p{Extended_Pictographic}\p{Emoji_Modifier}?"
_TAG = r"[\U000e0020-\U000e007f]"
_TAGS = f"{_TAG}{{0,15}}"
"""They spell the region of a flag after a pictograph."""
_CHARACTER = r"[\p{lb=SA}\p{Han}\p{Hiragana}\p{Bopomofo}\p{Yi}\p{Nushu}\p{Tangut}--\p{Nd}]"
"""Of scripts that put no sign between words. Runs of Katakana are words, as in Unicode's UAX 29."""
_KATAKANA = r"[\p{Katakana}\u30fc\uff70\uff9e\uff9f]"
_LETTER = rf"[[\p{{L}}\p{{M}}\p{{N}}]--[0-9]--{_KATAKANA}--[{_CHARACTER}--\p{{M}}]]"
_LETTERS = rf"(?>(?:\p{{Ll}}+|{_LETTER}+|[0-9](?!\u20e3))+)"
"""Lower-case letters are tried first: the others take longer."""
TOKEN = regex.compile(
    "(?V1)"
    + "|".join(
        [
            rf"{_LETTERS}(?:'{_LETTERS})*",
            # A character with its marks; in Myanmar, Khmer and Tai Tham some put the next consonant below,
            # and two vowels of Thai and Lao follow as letters.
            rf"{_CHARACTER}(?:\p{{M}}|[\u0e33\u0eb3]|(?<=[\u1039\u17d2\u1a60]){_CHARACTER})*",
            rf"{_KATAKANA}[{_KATAKANA}\p{{M}}]*",
            r"\p{Regional_Indicator}{2}",
            rf"{_PICTOGRAPH}(?:\u200d{_PICTOGRAPH})*{_TAGS}\p{{M}}*",
            r"[^\s\p{Cc}\p{Cs}\u200b\u2800]\p{M}*",  # keycaps too: a digit and U+20E3
        ]
    )
)
UNDRAWN = (
    r"\xad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200c\u200e\u200f\u202a-\u202e\u2060-\u206f\u3164"
    r"\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufffb\U0001bca0-\U0001bca3\U0001d173-\U0001d17a"
    r"\U000e0000-\U000e001f\U000e0080-\U000e0fff"
)
"""Default ignorable characters and those around annotations: soft hyphens, joiners, direction, choices of
glyphs. But U+200B parts words, U+200D joins pictographs, and tags spell flags."""
MAYBE_INVISIBLE = re.compile(rf"[{UNDRAWN}\u200d\U000e0020-\U000e007f]")
INVISIBLE = regex.compile(
    "|".join(
        [
            rf"[{UNDRAWN}]+",
            r"(?<!\p{Extended_Pictographic}(?:\ufe0f|\p{Emoji_Modifier})?)\u200d",
            r"\u200d(?!\p{Extended_Pictographic})",
            rf"(?<!{_PICTOGRAPH}{_TAGS}){_TAG}",
        ]
    )
)
APOSTROPHE = regex.compile(r"[\u2018\u2019\u201b\u02bb\u02bc\uff07]|(?<=\p{L}\p{M}*)[`\u00b4\u2032](?=\p{L})")
