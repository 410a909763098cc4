"""What the commands around Flower share."""

import contextlib
import importlib.util
import shlex
import signal
from collections.abc import Iterator, Mapping, Sequence
from types import FrameType

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


@contextlib.contextmanager
def terminated_like_interrupted() -> Iterator[None]:
    """SIGTERM ends the block as Ctrl-C does, so that no child is left behind."""

    def interrupt(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
