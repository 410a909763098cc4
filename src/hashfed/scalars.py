"""What text without quotes stands for, by the core schema of YAML 1.2; also on the command line."""

import re
from typing import Any

from hashfed.display import brief
from hashfed.errors import HashfedError

_CONSTANTS: dict[str, float | bool | None] = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL")),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
    **dict.fromkeys((".nan", ".NaN", ".NAN"), float("nan")),
    **dict.fromkeys((f"{sign}.{word}" for sign in ("", "+") for word in ("inf", "Inf", "INF")), float("inf")),
    **dict.fromkeys(("-.inf", "-.Inf", "-.INF"), float("-inf")),
}
WHOLE = re.compile(r"[-+]?[0-9]+")
REAL = re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?")
_OCTAL, _HEXADECIMAL = re.compile(r"0o[0-7]+"), re.compile(r"0x[0-9a-fA-F]+")


def plain_value(text: str) -> Any:
    """What a scalar without quotes stands for: None, a truth value, an int, a float, or the text itself.

    Raises:
        HashfedError: for a whole number of more digits than Python reads.

    """
    if text in _CONSTANTS:
        return _CONSTANTS[text]
    try:
        if WHOLE.fullmatch(text):
            return int(text)
        if _OCTAL.fullmatch(text):
            return int(text[2:], 8)
        if _HEXADECIMAL.fullmatch(text):
            return int(text[2:], 16)
    except ValueError:
        raise HashfedError(f"{brief(text)}: a number of too many digits") from None
    return float(text) if REAL.fullmatch(text) else text
