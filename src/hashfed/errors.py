"""The one exception that means "the user can fix this", and the one warning."""

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TextIO


class HashfedError(Exception):
    """A mistake in the input, or a state of the machine, that the user can mend.

    The message is one line that names the field or file, the value, and what is allowed. The command
    line prints it without a traceback and ends with exit code 2.
    """


class ClientDivergedError(HashfedError):
    """A client's numbers are of no use: the training diverged. The server's state is as it was."""


class HashfedWarning(UserWarning):
    """Something that the user should know and that stops nothing; one line, which the command line prints."""


def one_line(error: Exception) -> str:
    """What happened, on one line: the message of a user's mistake, else with the exception's name."""
    text = " ".join(str(error).split())
    return text if isinstance(error, HashfedError) else f"{type(error).__name__}: {text}"


@contextmanager
def warnings_told(say: Callable[[str], None]) -> Iterator[None]:
    """Within the block our warnings go to ``say``, each as its line; others go where they went."""
    with warnings.catch_warnings():
        show = warnings.showwarning

        def tell(
            message: Warning | str,
            category: type[Warning],
            filename: str,
            lineno: int,
            file: TextIO | None = None,
            line: str | None = None,
        ) -> None:
            if issubclass(category, HashfedWarning):
                say(str(message))
            else:
                show(message, category, filename, lineno, file, line)

        warnings.showwarning = tell
        warnings.simplefilter("always", HashfedWarning)
        yield
