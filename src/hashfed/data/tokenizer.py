"""Text to words."""

import re

_WORD = re.compile(r"[a-z0-9']+|[^\sa-z0-9]")


def tokenize(text: str) -> list[str]:
    """Lower-cased words, and every other visible character alone: ``Hi, you!`` is ``hi , you !``."""
    return _WORD.findall(text.lower())
