"""Numbers of bytes as people write them."""

import re

from hashfed.cli.arguments import MOST_DIGITS
from hashfed.display import brief
from hashfed.errors import HashfedError

UNITS = {"": 1, "b": 1, "kb": 10**3, "mb": 10**6, "gb": 10**9, "kib": 2**10, "mib": 2**20, "gib": 2**30}


def read_bytes(option: str, text: str) -> int:
    """Bytes from such as ``200MB``, ``1.5 GiB`` or ``4096``.

    Raises:
        HashfedError: naming ``option``, for anything else and for less than a byte.

    """
    found = re.fullmatch(r"([0-9]+(?:\.[0-9]+)?) ?([a-z]*)", text.lower())
    if found is None or found[2] not in UNITS or len(found[1]) > MOST_DIGITS:
        raise HashfedError(
            f"{option} = {brief(text)}: must be a number of bytes, such as 4096, 200MB or 1.5GiB"
        )
    count = int(float(found[1]) * UNITS[found[2]])
    if count < 1:
        raise HashfedError(f"{option} = {text}: must be at least 1 byte")
    return count
