"""What the commands around Flower share."""

import importlib.util
import shlex
from collections.abc import Mapping, Sequence

from hashfed.errors import HashfedError


def need_flower(command: str) -> None:
    """Make sure that Flower is installed.

    Raises:
        HashfedError: naming the command and the extra.

    """
    if importlib.util.find_spec("flwr") is None or importlib.util.find_spec("cryptography") is None:
        raise HashfedError(f"{command} needs hashfed[flower] (pip install 'hashfed[flower]')")


def shell(command: Sequence[str], environment: Mapping[str, str] | None = None) -> str:
    """A command as one would type it, its environment before it."""
    before = [f"export {name}={shlex.quote(value)}\n" for name, value in (environment or {}).items()]
    return "".join(before) + shlex.join(command)
