"""Text and values that anybody may have written, made fit to be shown."""

import reprlib

LONGEST_LINE = 2000
"""Characters of a message: room for every one of ours, whatever is quoted in it."""
LONGEST_PART = 160
"""Characters of what is quoted in a message."""
_HARMLESS = "\u00a0\u200c\u200d"
"""Not printable by Unicode's word, but parts of texts: a space, and joiners within words."""


def printable(text: str, keep: str = "") -> str:
    """The text with escapes for what would steer a terminal or turn the reading direction, save ``keep``."""
    if text.isprintable():
        return text
    harmless = _HARMLESS + keep
    return "".join(
        char if char.isprintable() or char in harmless else char.encode("unicode_escape").decode()
        for char in text
    )


def brief(text: str, most: int = LONGEST_PART) -> str:
    """At most ``most`` characters of the text; where it has more, the beginning and the end of it."""
    if len(text) <= most:
        return text
    end = most // 4
    return f"{text[: most - end - 1]}…{text[len(text) - end :]}"


def shown(value: object) -> str:
    """A value as Python writes it, whatever its size and depth, in few characters."""
    try:
        return brief(_REPR.repr(value))
    except (ValueError, RecursionError):  # a number of thousands of digits
        return f"<{type(value).__name__}>"


_REPR = reprlib.Repr()
_REPR.maxlevel, _REPR.maxstring, _REPR.maxother, _REPR.maxlong = 3, 120, 120, 120
